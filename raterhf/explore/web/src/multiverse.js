// Multiverse: a text token by token, what else would have been said, and the tree of how it goes on.

import { isKept, isStatic } from "./api.js";
import { Branches } from "./branches.js";
import { el, percent, personName, plural, say } from "./dom.js";
import { change, state } from "./state.js";
import { drawTree, wayButton } from "./trees.js";

const branches = new Branches();
const undone = [];
let here = null; // what is shown, for keys

export const multiverse = {
  title: "Multiverse",
  about: "How a text might have gone on",
  async show(root, context) {
    here = null;
    if (!state.prompt) {
      root.append(el("div", { class: "empty" }, el("h2", {}, "How a text might have gone on"), el("p", {}, "Ask a question above: this view shows what may be said to it, by how many, and where people part.")));
      return;
    }
    here = new Text(root, context);
    await here.open();
  },
  key(event, context) {
    if (!here) return false;
    const acts = { g: () => here.goOn(), u: () => here.undo(), b: () => here.bookmark(), ArrowLeft: () => here.step(-1), ArrowRight: () => here.step(1) };
    if (!(event.key in acts)) return false;
    context.attempt(acts[event.key]);
    return true;
  },
};

const idsOf = (said) => (said ? said.split(".").map(Number) : []);

class Text {
  constructor(root, context) {
    this.context = context;
    this.parts = { text: el("p", { class: "text", "aria-label": "The text, token by token" }), ways: el("div", { class: "ways-beside" }), tree: el("div"), branches: el("div") };
    root.append(this.controls(), this.parts.text, this.parts.ways, this.parts.tree, this.parts.branches);
  }

  controls() {
    const one = isStatic ? "new:0" : state.rater !== "new" ? state.rater : state.pick || "new:0";
    const voices = [["everyone", `everyone: ${this.context.about.everyone} fresh people`]];
    if (!this.context.about.knows) voices.length = 0;
    else if (!["all", "none"].includes(one) && !one.startsWith("persona:")) voices.push([one, `one person: ${personName(one)}`]);
    voices.push(["none", "nobody in particular"]);
    if (this.context.about.vanilla) voices.push(["vanilla", "vanilla RLHF"]);
    if (!voices.some(([voice]) => voice === state.voice)) {
      if (/^(new:|everyone$)/.test(state.voice) || this.context.about.known.includes(state.voice)) voices.push([state.voice, personName(state.voice)]);
      else change({ voice: voices[0][0] });
    }
    const kept = voices.filter(([voice]) => isKept("tree", this.body({ voice, said: [] })));
    if (!kept.some(([voice]) => voice === state.voice) && kept.length) change({ voice: kept[0][0] });
    const select = el("select", { id: "voice", onchange: (event) => this.go({ voice: event.target.value }) }, kept.map(([voice, words]) => el("option", { value: voice, selected: voice === state.voice }, words)));
    const shape = (value, words) => el("button", { type: "button", "aria-pressed": String(state.shape === value), onclick: () => this.go({ shape: value }) }, words);
    return el("div", { class: "row" },
      el("label", {}, el("span", {}, "Voice"), select),
      el("span", { class: "row", role: "group", "aria-label": "Shape" }, shape("blocks", "Blocks"), shape("tree", "Tree")),
      isStatic ? null : el("button", { type: "button", title: "This voice finishes the text (g)", onclick: () => this.context.attempt(() => this.goOn()) }, "Go on"),
      el("button", { type: "button", onclick: () => this.go({ said: "" }) }, "From the start"),
      el("button", { type: "button", title: "Back to what was shown before (u)", disabled: !undone.length, onclick: () => this.undo() }, "Undo"),
      isStatic ? null : el("button", { type: "button", title: "Keep this text among the branches (b)", onclick: () => this.bookmark() }, "Bookmark"));
  }

  body(more = {}) {
    return { prompt: state.prompt, said: idsOf(state.said), voice: state.voice, seed: state.seed, ...more };
  }

  // Shows another text, voice or shape; Undo leads back.
  go(changes) {
    undone.push({ prompt: state.prompt, said: state.said, voice: state.voice, shape: state.shape });
    change(changes, true);
    this.context.show("multiverse");
  }

  // What leads to another text; nothing where a page of one file does not hold it.
  way(said) {
    return isKept("read", this.body({ said })) ? () => this.go({ said: said.join(".") }) : null;
  }

  undo() {
    const last = undone.pop();
    if (last) this.context.show("multiverse", last);
    else say("Nothing to undo.");
  }

  async open() {
    say("Reading…");
    if (state.begin) {
      const { steps } = await this.context.work("read", this.body({ said: [], text: state.begin }));
      change({ said: steps.map((step) => step.id).join("."), begin: "" });
    }
    this.found = await this.context.work("read", this.body());
    this.drawText();
    this.drawBranches();
    say("Growing the tree…");
    const shown = (level) => this.parts.tree.replaceChildren(...drawTree(level, state.shape, (said) => this.way(said)));
    const asked = this.body();
    const whole = await this.context.work("tree", isKept("tree", asked) ? asked : { ...asked, said: [] }, { level: shown });
    shown(whole);
    say("");
  }

  drawText() {
    const { steps } = this.found;
    const token = (step, t) => el("button", {
      type: "button", class: `token${step.p < 0.1 ? " rare" : ""}`, style: { "--p": step.p }, title: `${percent(step.p)} here`,
      onclick: () => this.context.attempt(() => this.look(t)), onfocus: () => this.context.attempt(() => this.look(t)), onpointerenter: () => this.context.attempt(() => this.look(t)),
    }, step.text === null ? "■" : step.text.replaceAll("\n", "↵") || "·");
    this.parts.text.replaceChildren(
      el("span", { class: "asked" }, state.prompt), ...steps.map(token),
      el("button", { type: "button", class: "token next", onclick: () => this.look(steps.length), onfocus: () => this.look(steps.length), title: "What comes next" }, "…"));
    this.look(steps.length);
  }

  // What would be said at token t: by this voice, and beside it by the others.
  async look(t) {
    if (this.at === t) return;
    this.at = t;
    [...this.parts.text.querySelectorAll(".token")].forEach((node, i) => node.classList.toggle("here", i === t));
    const columns = [column(this.found, t, (said) => this.way(said))];
    this.parts.ways.replaceChildren(...columns);
    if (!this.found.steps.length && isStatic) return;
    const others = await this.others();
    if (this.at !== t) return;
    this.parts.ways.replaceChildren(...columns, ...others.map((found) => column(found, t, (said) => this.way(said))));
  }

  // The same text read by the other voices, once.
  others() {
    const voices = [...document.getElementById("voice").options].map((option) => option.value).filter((voice) => voice !== state.voice && isKept("read", this.body({ voice })));
    this.read ??= Promise.all(voices.map((voice) => this.context.work("read", this.body({ voice }), { queued() {} })));
    return this.read;
  }

  step(by) {
    const tokens = [...this.parts.text.querySelectorAll(".token")];
    const at = tokens.indexOf(document.activeElement);
    tokens[Math.min(tokens.length - 1, Math.max(0, (at < 0 ? this.at : at) + by))]?.focus();
  }

  async goOn() {
    if (isStatic) return;
    say("Going on…");
    const added = el("span", { class: "said growing" });
    this.parts.text.append(added);
    const done = await this.context.work("go", this.body(), { grown: (text) => { added.textContent = text; } });
    branches.add({ prompt: state.prompt, ids: done.ids, text: done.text, rater: done.rater, seed: done.seed, voice: done.voice });
    this.go({ said: done.ids.join(".") });
    say(`${personName(done.rater)} said so${done.finished ? "" : ", and was cut"}.`);
  }

  bookmark() {
    const ids = idsOf(state.said);
    branches.add({ prompt: state.prompt, ids, text: this.found.steps.map((step) => step.text ?? "").join(""), rater: state.rater, seed: state.seed, voice: state.voice }, true);
    this.drawBranches();
    say("Bookmarked.");
  }

  drawBranches() {
    if (isStatic) return;
    const open = (branch) => this.go({ prompt: branch.prompt, said: branch.ids.join("."), voice: branch.voice, seed: branch.seed });
    this.parts.branches.replaceChildren(branches.node(open, () => this.drawBranches()));
  }
}

function column(found, t, wayTo) {
  const before = found.steps.slice(0, t).map((step) => step.id);
  const said = found.steps[t]?.id;
  const ways = t < found.steps.length ? found.steps[t].ways : found.next;
  const name = found.voice === "everyone" ? `everyone (${plural(found.people, "person", "people")})` : found.voice === "vanilla" ? "vanilla RLHF" : personName(found.voice);
  const hue = found.voice === "vanilla" ? "vanilla" : found.voice === "none" ? "controls" : "raters";
  return el("div", { class: "ways" }, el("h3", {}, name), el("ul", {}, ways.map((way) => el("li", { class: way.id === said ? "said-here" : "" },
    wayButton(way.text === null ? null : wayTo([...before, way.id]), { "aria-current": way.id === said ? "true" : null },
      el("i", { class: hue, style: { width: `${100 * way.p}%` } }), el("span", {}, way.text === null ? "■ ends" : way.text.replaceAll("\n", "↵") || "·"), el("b", {}, percent(way.p)))))));
}
