// Map: known raters, personas and groups, the population, and fictitious people, in two dimensions; to point at, meet, walk and zoom.

import { select } from "d3-selection";
import { zoom, zoomIdentity } from "d3-zoom";

import { isKept, isStatic } from "./api.js";
import { el, percent, personName, plural, say, svg } from "./dom.js";
import { HoverCard, personBody, showPerson } from "./person.js";
import { axesOf, densityPaths, finder } from "./plane.js";
import { change, state } from "./state.js";

const DRAWN = 250; // fictitious people with a mark; a click may mean all that have a number
const NEAR = 9; // pixels within which a click means a known rater
const STEP = 14; // pixels that an arrow key moves
const CLOSEST = 24; // times that the map is enlarged at most
const BY = { pca: "PCA", umap: "UMAP" };
const found = {}; // the maps by projection, each asked for once

export const map = {
  title: "Map",
  about: "The raters in two dimensions",
  async show(root, context) {
    if (context.about.no_map) {
      root.append(el("p", { class: "empty" }, context.about.no_map));
      return;
    }
    const { by } = state;
    const panel = el("div", { class: "panel" });
    if (!found[by]) {
      say(by === "umap" ? "UMAP places everybody; the first time this takes up to a minute…" : "Drawing the map…");
      const waiting = el("div", { class: "row" }, projections(context));
      root.append(waiting);
      try {
        found[by] = await context.work("map", { by });
        waiting.remove();
      } catch (error) {
        if (by === "pca" || error.name === "AbortError") throw error;
        waiting.remove();
        change({ by: "pca" });
        await map.show(root, context);
        throw error; // which says why there is no UMAP, above the map that there is
      }
      say("");
    }
    const drawing = new Drawing(found[by], panel, context);
    root.append(el("div", { class: "beside" }, drawing.node, panel));
    drawing.draw();
    if (state.pick) await drawing.pick(state.pick);
    else panel.append(el("p", { class: "soft" }, isStatic ? "Point at people to hear them; click to meet the person there." : "Point at people to hear what they say and like; click anywhere to meet the person there. With the keyboard: Tab to the map, arrows, Enter; + and − enlarge and reduce."));
  },
};

class Drawing {
  constructor(space, panel, context) {
    Object.assign(this, { space, panel, context, walked: [], from: null, cursor: null, seen: zoomIdentity });
    const numbered = space.numbered.map((at, number) => ({ rater: `new:${number}`, at }));
    // Whom a page of one file cannot show is not pointed at.
    const meets = (one) => isKept("person", personBody(one.rater));
    this.known = finder(space.known.map((one) => ({ ...one, rater: one.id })).filter(meets));
    this.numbered = finder(numbered.filter(meets));
    this.card = new HoverCard(context);
    this.svg = svg("svg", {
      role: "application", tabindex: 0, "aria-label": "Map of raters. Arrow keys move, Enter meets the person there, plus and minus enlarge and reduce.",
      onclick: (event) => this.click(event), onpointermove: (event) => event.pointerType === "mouse" && !event.buttons && this.aim(this.at(event)),
      onkeydown: (event) => this.key(event), onpointerleave: () => this.leave(), onblur: () => this.leave(),
    });
    this.stage = el("div", { class: "stage" }, this.svg, this.card.node);
    this.node = el("figure", { class: "map" }, this.controls(), this.stage, legend(space), el("figcaption", { class: "soft" }, caption(space)));
    // A wheel scrolls the page, and one finger too: with Ctrl, two fingers or the buttons the map is enlarged.
    this.zoom = zoom().scaleExtent([1, CLOSEST]).clickDistance(4).on("zoom", (event) => this.look(event.transform)).filter((event) =>
      event.type === "wheel" ? event.ctrlKey || event.metaKey : event.type.startsWith("touch") ? event.touches.length > 1 : !event.button && (this.seen.k > 1 || event.ctrlKey));
    select(this.svg).call(this.zoom).on("dblclick.zoom", null);
    new ResizeObserver(() => this.draw()).observe(this.stage);
  }

  controls() {
    const step = (words, name, act) => el("button", { type: "button", "aria-label": name, title: name, onclick: act }, words);
    return el("div", { class: "row" },
      projections(this.context),
      el("span", { class: "row", role: "group", "aria-label": "Enlarge" },
        step("+", "Enlarge", () => this.enlarge(1.6)), step("−", "Reduce", () => this.enlarge(1 / 1.6)), step("Whole map", "Show the whole map", () => this.whole())));
  }

  enlarge(times, at) {
    select(this.svg).call(this.zoom.scaleBy, times, at);
  }

  whole() {
    select(this.svg).call(this.zoom.transform, zoomIdentity);
  }

  draw() {
    const width = this.stage.clientWidth;
    if (!width || width === this.width) return;
    const height = Math.round(Math.min(520, Math.max(280, width * 0.72)));
    Object.assign(this, { width, height, axes: axesOf(this.space, width, height) });
    this.zoom.extent([[0, 0], [width, height]]).translateExtent([[0, 0], [width, height]]);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.stage.style.setProperty("height", `${height}px`);
    this.density = svg("g", { class: "density" }, densityPaths(this.space, this.axes, width, height).map((d) => svg("path", { d })));
    this.placed = [
      ...this.space.numbered.slice(0, DRAWN).map((at) => ({ at, node: glyph("fictitious") })),
      ...this.space.known.map((one) => ({ at: one.at, node: glyph("known") })),
      ...this.space.centres.map((one) => ({ at: one.at, node: svg("g", {}, glyph("centre"), svg("text", { x: 8, y: 4 }, one.name.replace(/^(persona|group):/, ""))) })),
    ];
    this.marks = svg("g", {});
    this.svg.replaceChildren(this.density, ...this.placed.map((one) => one.node), this.marks);
    this.whole();
  }

  // Shows the part of the map that this transform enlarges; marks keep their size.
  look(transform) {
    this.seen = transform;
    this.leave();
    this.density.setAttribute("transform", transform.toString());
    for (const { at, node } of this.placed) node.setAttribute("transform", `translate(${this.pixel(at)})`);
    this.remark();
  }

  pixel(at) {
    return this.seen.apply([this.axes.x(at[0]), this.axes.y(at[1])]);
  }

  // What was chosen lies above the rest.
  remark() {
    const parts = [];
    if (this.walked.length) {
      const points = this.walked.map((one) => this.pixel(one.at));
      parts.push(svg("polyline", { class: "walk", points: points.map((at) => at.join(",")).join(" ") }));
      this.walked.forEach((one, i) => parts.push(svg("g", { class: "step" }, svg("rect", { x: points[i][0] - 8, y: points[i][1] - 8, width: 16, height: 16, rx: 3 }), svg("text", { x: points[i][0], y: points[i][1] + 4, "text-anchor": "middle" }, String(i + 1)))));
    }
    if (this.picked?.at) {
      const [x, y] = this.pixel(this.picked.at);
      parts.push(svg("circle", { class: "picked", cx: x, cy: y, r: 9 }), svg("text", { class: "picked-name", x: x + 13, y: y - 8 }, personName(this.picked.rater)));
    }
    if (this.aimed) {
      const [x, y] = this.pixel(this.aimed.at);
      parts.push(svg("circle", { class: "aimed", cx: x, cy: y, r: 6 }));
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
  whoIs(place) {
    const [px, py] = this.seen.invert(place);
    const [x, y] = [this.axes.x.invert(px), this.axes.y.invert(py)];
    const known = this.known.find(x, y, NEAR / this.axes.scale / this.seen.k);
    if (known) return { ...known, words: describe(known) };
    return { ...this.numbered.find(x, y), words: "fictitious: drawn from the population" };
  }

  // The card about whomever is meant, beside them and inside the drawing.
  aim(place) {
    const who = this.whoIs(place);
    if (this.aimed?.rater !== who.rater) {
      this.aimed = who;
      this.remark();
    }
    const [x, y] = this.pixel(who.at);
    this.card.show(who, (node) => {
      const [right, below] = [x < this.width / 2, y < this.height / 2];
      const left = right ? Math.min(x + 16, this.width - node.offsetWidth - 4) : Math.max(4, x - 16 - node.offsetWidth);
      node.style.setProperty("left", `${left}px`);
      node.style.setProperty("top", `${below ? y + 14 : Math.max(4, y - 14 - node.offsetHeight)}px`);
    });
  }

  leave() {
    this.card.leave();
    this.aimed = null;
    if (this.marks) this.remark();
  }

  click(event) {
    this.context.attempt(() => this.choose(this.whoIs(this.at(event)).rater));
  }

  key(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.key in moves) this.move(...moves[event.key]);
    else if (event.key === "Enter" && this.cursor) this.context.attempt(() => this.choose(this.whoIs(this.cursor).rater));
    else if (event.key === "+" || event.key === "=") this.enlarge(1.6, this.cursor ?? undefined);
    else if (event.key === "-") this.enlarge(1 / 1.6, this.cursor ?? undefined);
    else if (event.key === "0") this.whole();
    else if (event.key === "Escape" && this.from) {
      this.from = null;
      say("No walk.");
    }
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  // Moves the cross; at an edge the enlarged map moves instead.
  move(dx, dy) {
    const [x, y] = this.cursor ?? [this.width / 2, this.height / 2];
    const [a, b] = [x + STEP * dx, y + STEP * dy];
    this.cursor = [Math.min(this.width, Math.max(0, a)), Math.min(this.height, Math.max(0, b))];
    if (a !== this.cursor[0] || b !== this.cursor[1]) select(this.svg).call(this.zoom.translateBy, (-STEP * dx) / this.seen.k, (-STEP * dy) / this.seen.k);
    this.aim(this.cursor);
    this.remark();
  }

  async choose(rater) {
    this.leave();
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
      say(`A walk from ${personName(rater)}: click the person to walk to, or move there with the arrow keys and press Enter; Escape gives it up.`);
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
    this.walked = await this.context.work("path", { a, b, by: state.by });
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

// The ways to place people, to choose from.
function projections(context) {
  if (isStatic) return null;
  const by = (name) => el("button", { type: "button", "aria-pressed": String(state.by === name), onclick: () => context.show("map", { by: name }) }, BY[name]);
  return el("span", { class: "row", role: "group", "aria-label": "How people are placed" }, Object.keys(BY).map(by));
}

function describe(one) {
  const words = [plural(one.labels, "label"), one.persona, one.group].filter(Boolean);
  return `a rater of the data: ${words.join(", ")}`;
}

function caption(space) {
  const kept = `Of everybody's ${space.nearest} nearest in all ${space.dims} dimensions, ${percent(space.kept)} are among their ${space.nearest} nearest here.`;
  const shade = "Shaded: where the population's people stand densely.";
  if (space.by === "umap") return `UMAP places people so that neighbours stay neighbours. ${kept} Not kept: how far apart people are, in which direction, how large a cluster is and how empty the space between two. ${shade}`;
  return `Two of ${space.dims} dimensions, the principal components, which show ${percent(Math.min(1, space.shown))} of the variance among known raters: people who are near each other here may differ in the rest. ${kept} ${shade}`;
}

// A mark around 0, 0.
function glyph(kind) {
  const shapes = {
    known: () => svg("circle", { class: "known", r: 3 }),
    fictitious: () => svg("path", { class: "fictitious", d: "M-3,0h6M0,-3v6" }),
    centre: () => svg("path", { class: "centre", d: "M0,-6l6,6l-6,6l-6,-6z" }),
  };
  return shapes[kind]();
}

function legend(space) {
  const entry = (kind, words) => el("li", {}, svg("svg", { viewBox: "-8 -8 16 16", width: 16, height: 16, "aria-hidden": "true" }, glyph(kind)), words);
  return el("ul", { class: "key" },
    entry("known", plural(space.known.length, "known rater")), entry("fictitious", `fictitious people, ${DRAWN} of ${space.numbered.length.toLocaleString("en")}`),
    space.centres.length ? entry("centre", "middle of a persona or group") : null);
}
