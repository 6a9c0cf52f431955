// Map: known raters, personas and groups, the population, and fictitious people, in two dimensions.

import { isKept, isStatic } from "explore/api.js";
import { el, percent, personName, plural, say, svg } from "explore/dom.js";
import { showPerson } from "explore/person.js";
import { Plane, shade } from "explore/plane.js";
import { change, state } from "explore/state.js";

const DRAWN = 250; // fictitious people with a mark; a click may mean all that have a number
const NEAR = 9; // pixels within which a click means a known rater
const STEP = 14; // pixels that an arrow key moves
let found = null; // the map, asked for once

export const map = {
  title: "Map",
  about: "The raters in two dimensions",
  async show(root, context) {
    if (context.about.no_map) {
      root.append(el("p", { class: "empty" }, context.about.no_map));
      return;
    }
    say("Drawing the map…");
    found ??= await context.work("map");
    say("");
    const panel = el("div", { class: "panel" });
    const drawing = new Drawing(found, panel, context);
    root.append(el("div", { class: "beside" }, drawing.node, panel));
    drawing.draw();
    if (state.pick) await drawing.pick(state.pick);
    else panel.append(el("p", { class: "soft" }, "Click anywhere on the map to meet the person there. With the keyboard: Tab to the map, arrows, Enter."));
  },
};

class Drawing {
  constructor(space, panel, context) {
    Object.assign(this, { space, panel, context, walked: [], from: null, cursor: null });
    this.canvas = el("canvas", { "aria-hidden": "true" });
    this.svg = svg("svg", {
      role: "application", tabindex: 0, "aria-label": "Map of raters. Arrow keys move, Enter meets the person there.",
      onclick: (event) => this.click(event), onpointermove: (event) => this.hover(event), onkeydown: (event) => this.key(event),
      onpointerleave: () => this.tell(""),
    });
    this.told = el("p", { class: "told", "aria-live": "polite" });
    const seen = Math.min(1, space.shown);
    this.node = el("figure", { class: "map" },
      el("div", { class: "stage" }, this.canvas, this.svg), this.told, legend(space),
      el("figcaption", { class: "soft" }, `Two of ${space.dims} dimensions, the principal components, which show ${percent(seen)} of the variance among known raters: people who are near each other here may differ in the rest. Shaded: where the population has most people.`));
    // Drawn again where the width changes.
    new ResizeObserver(() => this.draw()).observe(this.node.firstChild);
  }

  draw() {
    const width = this.node.firstChild.clientWidth;
    if (!width) return;
    const height = Math.round(Math.min(520, Math.max(280, width * 0.72)));
    this.plane = new Plane(this.space, width, height);
    shade(this.canvas, this.space.population, this.plane);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.node.firstChild.style.setProperty("height", `${height}px`);
    const mark = (kind, at, title) => glyph(kind, ...this.plane.pixel(at), title);
    this.marks = svg("g", {});
    this.svg.replaceChildren(
      svg("g", { class: "numbered" }, this.space.numbered.slice(0, DRAWN).map((at) => mark("fictitious", at))),
      svg("g", { class: "known" }, this.space.known.map((one) => mark("known", one.at))),
      svg("g", { class: "centres" }, this.space.centres.map((one) => {
        const [x, y] = this.plane.pixel(one.at);
        return svg("g", {}, mark("centre", one.at), svg("text", { x: x + 8, y: y + 4 }, one.name.replace(/^(persona|group):/, "")));
      })),
      this.marks);
    this.remark();
  }

  // What was chosen lies above the rest.
  remark() {
    const parts = [];
    if (this.walked.length) {
      const points = this.walked.map((one) => this.plane.pixel(one.at));
      parts.push(svg("polyline", { class: "walk", points: points.map((at) => at.join(",")).join(" ") }));
      this.walked.forEach((one, i) => parts.push(svg("g", { class: "step" }, svg("rect", { x: points[i][0] - 8, y: points[i][1] - 8, width: 16, height: 16, rx: 3 }), svg("text", { x: points[i][0], y: points[i][1] + 4, "text-anchor": "middle" }, String(i + 1)))));
    }
    if (this.picked?.at) {
      const [x, y] = this.plane.pixel(this.picked.at);
      parts.push(svg("circle", { class: "picked", cx: x, cy: y, r: 9 }), svg("text", { class: "picked-name", x: x + 13, y: y - 8 }, personName(this.picked.rater)));
    }
    if (this.cursor) {
      const [x, y] = this.cursor;
      parts.push(svg("path", { class: "cursor", d: `M${x - 12},${y}h24M${x},${y - 12}v24` }));
    }
    this.marks.replaceChildren(...parts);
  }

  at(event) {
    const box = this.svg.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  // Who is meant by a place in pixels: a known rater who is near, else the nearest fictitious person.
  whoIs([x, y]) {
    const apart = (at) => Math.hypot(this.plane.pixel(at)[0] - x, this.plane.pixel(at)[1] - y);
    let best = null;
    let nearest = NEAR;
    for (const one of this.space.known) if (apart(one.at) < nearest && meets(one.id)) [best, nearest] = [one, apart(one.at)];
    if (best) return { rater: best.id, at: best.at, words: describe(best) };
    nearest = Infinity;
    this.space.numbered.forEach((at, number) => {
      if (apart(at) < nearest && meets(`new:${number}`)) [best, nearest] = [{ rater: `new:${number}`, at }, apart(at)];
    });
    return { ...best, words: `${best.rater}: fictitious, never existed` };
  }

  tell(words) {
    this.told.textContent = words;
  }

  hover(event) {
    this.tell(this.whoIs(this.at(event)).words);
  }

  click(event) {
    this.context.attempt(() => this.choose(this.whoIs(this.at(event)).rater));
  }

  key(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.key in moves) {
      const [dx, dy] = moves[event.key];
      const [x, y] = this.cursor ?? [this.plane.width / 2, this.plane.height / 2];
      this.cursor = [Math.min(this.plane.width, Math.max(0, x + STEP * dx)), Math.min(this.plane.height, Math.max(0, y + STEP * dy))];
      this.remark();
      this.tell(this.whoIs(this.cursor).words);
    } else if (event.key === "Enter" && this.cursor) {
      this.context.attempt(() => this.choose(this.whoIs(this.cursor).rater));
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  async choose(rater) {
    if (this.from) return this.walk(this.from, rater);
    return this.pick(rater);
  }

  async pick(rater) {
    change({ pick: rater });
    const known = this.space.known.find((one) => one.id === rater);
    this.picked = { rater, at: known?.at ?? this.space.numbered[Number(/^new:(\d+)$/.exec(rater)?.[1] ?? -1)] };
    this.remark();
    const walk = el("button", { type: "button", onclick: () => {
      this.from = rater;
      say(`A walk from ${personName(rater)}: click or press Enter on the person to walk to.`);
      this.svg.focus();
    } }, "Walk to…");
    await showPerson(this.panel, rater, this.context, isStatic ? null : walk, (at) => {
      this.picked = { rater, at };
      this.remark();
    });
  }

  // Five people on the way, and what each answers to the question.
  async walk(a, b) {
    this.from = null;
    this.walked = await this.context.work("path", { a, b });
    this.remark();
    const list = el("ol", {}, this.walked.map((one) => el("li", {},
      el("button", { type: "button", class: "chip", title: one.rater, onclick: () => this.context.attempt(() => this.pick(one.rater)) }, personName(one.rater)), el("span", { class: "said" }))));
    const asked = this.context.about.answers && (state.prompt || this.context.about.prompts[0]);
    this.panel.replaceChildren(el("h2", {}, "A walk in five steps"), asked ? el("p", { class: "soft" }, asked) : el("p", {}, this.context.about.answers ? "Ask a question to hear what each says." : "This run has no policy to say what each would answer."), list);
    for (const [i, one] of asked ? this.walked.entries() : []) {
      await this.context.work("ask", { prompt: asked, rater: one.rater, n: 1, seed: state.seed }, {
        grown: (grown) => { list.children[i].lastChild.textContent = ` ${grown[0]}`; },
      });
    }
    say("The straight way through rater space: between its ends only their taste differs from step to step.");
  }
}

// Whom a page of one file can show.
const meets = (rater) => isKept("person", { rater, seed: state.seed });

function describe(one) {
  const words = [plural(one.labels, "label"), one.persona, one.group].filter(Boolean);
  return `${one.id}: a rater of the data, ${words.join(", ")}`;
}

function glyph(kind, x, y, title) {
  const shapes = {
    known: () => svg("circle", { class: "known", cx: x, cy: y, r: 3 }),
    fictitious: () => svg("path", { class: "fictitious", d: `M${x - 3},${y}h6M${x},${y - 3}v6` }),
    centre: () => svg("path", { class: "centre", d: `M${x},${y - 6}l6,6l-6,6l-6,-6z` }),
  };
  const node = shapes[kind]();
  if (title) node.append(svg("title", {}, title));
  return node;
}

function legend(space) {
  const entry = (kind, words) => el("li", {}, svg("svg", { viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true" }, glyph(kind, 8, 8)), words);
  return el("ul", { class: "key" },
    entry("known", plural(space.known.length, "known rater")), entry("fictitious", "fictitious people"),
    space.centres.length ? entry("centre", "middle of a persona or group") : null);
}
