// The frame of the page: the question, who is asked, the views, and keys.

import "./style.css";

import { ask } from "./ask.js";
import { call, isStatic } from "./api.js";
import { el, personName, plural, say, short } from "./dom.js";
import { jury } from "./jury.js";
import { map } from "./map.js";
import { multiverse } from "./multiverse.js";
import { change, onState, state } from "./state.js";
import { you } from "./you.js";

const VIEWS = { ask, map, multiverse, ...(isStatic ? {} : { jury, you }) };
const ANSWERING = ["ask", "multiverse"]; // which need a policy
const UNUSED = { multiverse: ["n"], jury: ["rater", "n", "ask"], you: ["rater", "n", "ask"] }; // fields of the question, by view
const KEYS = "1 to 5: views. /: the question. Escape: stop. On the map: arrows, Enter, +, −, 0: the whole map. In the multiverse: arrows, Enter, g: go on, b: bookmark, u: undo.";
const root = document.getElementById("view");
const form = document.getElementById("question");
const fields = {};
let about = null;
let stopping = new AbortController();
let running = 0;

const context = {
  get about() { return about; },
  // Aborts where another view is shown, or Stop is pressed.
  get signal() { return stopping.signal; },
  // Asks under the view that is shown: another view, or Stop, ends it.
  async work(name, body, on) {
    const { signal } = stopping;
    count(1);
    try {
      return await call(name, body, { queued: (ahead) => ahead && say(`${plural(ahead, "request")} before this one…`), ...on }, signal);
    } finally {
      count(-1);
    }
  },
  // Runs a view's action; what goes wrong is said in one sentence.
  async attempt(action) {
    const { signal } = stopping;
    try {
      await action();
    } catch (error) {
      if (!signal.aborted) say(error.message, true);
      if (!(error instanceof Error) || error.name === "TypeError" || error.name === "ReferenceError") throw error;
    }
  },
  // Leads to another view, with changes of what is shown.
  show(view, changes = {}) {
    change({ ...changes, view }, true);
    render();
  },
  hold(rater, changes = {}) {
    change({ rater, ...changes });
    fillForm();
  },
};

function count(more) {
  running += more;
  fields.stop.disabled = running === 0;
  root.setAttribute("aria-busy", running > 0);
}

function stop() {
  stopping.abort();
  stopping = new AbortController();
}

// Who is asked where nobody is held.
const fresh = () => (about.knows ? "new" : "none");

function field(label, input) {
  return el("label", {}, el("span", {}, label), input);
}

function makeForm() {
  fields.prompt = el("input", { id: "prompt", name: "prompt", list: "prompts", maxlength: 8000, placeholder: "Ask these people something", required: true });
  fields.rater = el("input", { id: "rater", name: "rater", list: "raters", maxlength: 2000, required: true, readonly: isStatic });
  fields.n = el("input", { id: "n", name: "n", type: "number", min: 1, max: about.most_people, required: true, readonly: isStatic });
  fields.seed = el("input", { id: "seed", name: "seed", type: "number", min: 0, max: 4294967295, required: true, readonly: isStatic });
  fields.ask = el("button", { class: "main" }, "Ask");
  fields.stop = el("button", { type: "button", onclick: () => { stop(); say("Stopped."); } }, "Stop");
  fields.fresh = el("button", { type: "button", class: "held", title: "Ask new people again", onclick: () => context.hold(fresh()) }, "Let go");
  form.replaceChildren(
    field("Question", fields.prompt),
    el("datalist", { id: "prompts" }, about.prompts.map((prompt) => el("option", { value: prompt }))),
    el("div", { class: "row" },
      field("Who", fields.rater),
      el("datalist", { id: "raters" }, ["new", "none", ...about.personas.map((name) => `persona:${name}`), ...about.known].map((one) => el("option", { value: one }))),
      field("People", fields.n), field("Seed", fields.seed),
      fields.ask, isStatic ? null : fields.stop, isStatic ? null : fields.fresh),
    el("p", { class: "soft", id: "whom" }),
    about.prompts.length
      ? el("p", { class: "chips" }, "For example: ", about.prompts.slice(0, 6).map((prompt) =>
          el("button", { type: "button", class: "chip", onclick: () => { change({ prompt }); fillForm(); form.requestSubmit(); } }, short(prompt, 40))))
      : null,
  );
  fields.stop.disabled = true;
  form.onsubmit = (event) => {
    event.preventDefault();
    readForm();
    const view = ["multiverse", "jury"].includes(state.view) ? state.view : about.answers ? "ask" : "jury";
    stop();
    change({ view, asked: 1, said: "" }, true);
    root.focus({ preventScroll: true }); // so that keys are no letters of the question any longer
    render();
  };
  form.onchange = readForm;
  form.oninput = () => sayWhom();
}

// In words, who will be asked.
function sayWhom() {
  const rater = fields.rater.value.trim();
  const n = fields.n.valueAsNumber || 0;
  const answers = plural(n, "answer");
  const words = {
    "": "", new: `${plural(n, "fictitious person", "fictitious people")}, drawn from the population; the same seed draws the same people, who say the same words.`,
    all: `Every known rater, ${answers} of each.`, none: `Nobody in particular: ${answers} of what a model without raters is.`,
  };
  const persona = rater.startsWith("persona:") && `${plural(n, "fictitious person", "fictitious people")} of the persona ${rater.slice(8)}, drawn by the seed.`;
  const one = `${/^new:/.test(rater) ? "One fictitious person" : "One person"}, ${personName(rater)}: ${answers}.`;
  document.getElementById("whom").textContent = UNUSED[state.view] ? "" : (words[rater] ?? persona) || (rater && one);
}

function readForm() {
  change({
    prompt: fields.prompt.value, rater: fields.rater.value.trim() || fresh(),
    n: fields.n.valueAsNumber || 12, seed: fields.seed.valueAsNumber || 0,
  });
  fields.fresh.hidden = state.rater === fresh() || isStatic;
  sayWhom();
}

function fillForm() {
  for (const key of ["prompt", "rater", "n", "seed"]) fields[key].value = state[key];
  fields.fresh.hidden = state.rater === fresh() || isStatic;
  sayWhom();
}

function render() {
  if (!(state.view in VIEWS)) change({ view: Object.keys(VIEWS)[0] });
  stop();
  fillForm();
  for (const tab of document.querySelectorAll("#tabs button")) {
    if (tab.value === state.view) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  for (const name of ["rater", "n", "ask"]) (fields[name].closest("label") ?? fields[name]).hidden = Boolean(UNUSED[state.view]?.includes(name));
  if (UNUSED[state.view]?.includes("rater")) fields.fresh.hidden = true;
  root.replaceChildren();
  say("");
  context.attempt(() => VIEWS[state.view].show(root, context));
}

function makeTabs() {
  document.getElementById("tabs").replaceChildren(
    ...Object.entries(VIEWS).map(([name, view]) =>
      el("button", { type: "button", value: name, title: view.about, onclick: () => context.show(name) }, view.title)),
    el("button", { type: "button", class: "help", "aria-label": "Keys", title: KEYS, onclick: () => say(KEYS) }, "?"),
  );
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && running) {
    stop();
    say("Stopped.");
    return;
  }
  if (event.key === "Escape") root.focus({ preventScroll: true }); // out of a field
  if (event.target.closest("input, textarea, select") || event.ctrlKey || event.metaKey || event.altKey) return;
  const names = Object.keys(VIEWS);
  if (event.key === "/") fields.prompt?.focus();
  else if (event.key === "?") say(KEYS);
  else if (names[Number(event.key) - 1]) context.show(names[Number(event.key) - 1]);
  else if (!VIEWS[state.view].key?.(event, context)) return;
  event.preventDefault();
});

try {
  about = await call("about");
  if (about.fixed) change(about.fixed);
  if (!about.answers) for (const name of ANSWERING) delete VIEWS[name];
  if (state.rater === "new") change({ rater: fresh() });
  makeTabs();
  makeForm();
  onState(render);
  render();
  const gone = [about.no_answers, about.no_data, about.no_vanilla, about.no_scores].filter(Boolean);
  if (gone.length) document.querySelector("main").append(el("p", { class: "soft" }, `Not shown: ${gone.join("; ")}.`));
} catch (error) {
  say(error.message, true);
}
