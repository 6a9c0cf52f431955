// One person: who they are, what they say, what they like more and less than others. Whoever was met is remembered while the page is open.

import { call, isStatic } from "./api.js";
import { command, el, personName, plural, promptText, say, short } from "./dom.js";
import { state } from "./state.js";

const REMEMBERED = 400; // people
const WAIT = 350; // milliseconds that a pointer rests on somebody before the model is asked about them
const met = new Map(); // what was asked -> { who, says, likes, why }

export const personBody = (rater) => ({ rater, seed: state.seed, by: state.by });

// Asks about a person, once: `on` is told of the parts as they come.
async function meet(rater, ask, on = {}) {
  const body = personBody(rater);
  const key = JSON.stringify(body);
  const known = met.get(key);
  if (known) {
    on.who?.(known.who);
    if (known.says) on.says?.(known.says);
    return known;
  }
  const found = {};
  const part = (name) => (told) => {
    found[name] = told;
    on[name]?.(told);
  };
  Object.assign(found, await ask("person", body, { who: part("who"), says: part("says") }));
  met.set(key, found);
  if (met.size > REMEMBERED) met.delete(met.keys().next().value);
  return found;
}

export async function showPerson(panel, rater, context, walk, placed) {
  const parts = { who: el("div"), says: el("div"), likes: el("div") };
  const askThem = () => {
    context.hold(rater, { n: 1 });
    context.show("ask", { asked: state.prompt ? 1 : 0 });
  };
  panel.replaceChildren(
    el("h2", { title: rater }, personName(rater)), parts.who,
    el("p", { class: "row" }, isStatic || !context.about.answers ? null : el("button", { type: "button", onclick: askThem }, state.prompt ? "Ask the question" : "Ask this person"), walk),
    parts.says, parts.likes);
  parts.says.append(el("p", { class: "soft" }, "Asking…"));
  say(`Meeting ${personName(rater)}…`);
  const { likes, why } = await meet(rater, context.work, {
    who(found) {
      parts.who.replaceChildren(...introduce(found, context));
      if (found.at) placed(found.at);
    },
    says(said) {
      parts.says.replaceChildren(el("h3", {}, "Says"), el("dl", {}, said.flatMap((one) => [el("dt", {}, promptText(one.prompt)), el("dd", {}, one.text)])));
      parts.likes.replaceChildren(el("p", { class: "soft" }, "Working out what they like…"));
    },
  });
  if (parts.says.querySelector(".soft")) parts.says.replaceChildren();
  say("");
  if (!likes) {
    parts.likes.replaceChildren(el("p", { class: "soft" }, `What they like is not known: ${why}`));
    return;
  }
  const list = (title, rows) => [el("h3", {}, title), el("ul", { class: "likes" }, rows.map((one) =>
    el("li", {}, el("b", {}, short(one.text, 100)), ` (${signed(one.more)}) `, el("span", { class: "soft" }, short(promptText(one.prompt), 80)))))];
  parts.likes.replaceChildren(
    ...list("Likes more than others do", likes.most), ...list("Likes less than others do", likes.least),
    el("p", { class: "soft" }, `Of ${likes.of} answers in the data, beside 32 fictitious people; in units of the noise of one comparison.`));
}

const signed = (margin) => `${margin > 0 ? "+" : "−"}${Math.abs(margin).toFixed(1)}`;

// A card about whomever the pointer, or the keyboard's cross, is on. The model is asked where it rests there, about one person at a time:
// whoever was asked about before is let go.
export class HoverCard {
  constructor(context) {
    this.context = context;
    this.node = el("div", { class: "told", "aria-live": "polite", hidden: true });
    this.rater = null;
  }

  // `who` is { rater, words }; `place` puts the card beside them, after every change of its size.
  show(who, place) {
    this.place = place;
    if (who.rater === this.rater) return place(this.node);
    this.leave();
    this.rater = who.rater;
    this.node.hidden = false;
    const parts = { says: el("div", { class: "soft" }, met.has(JSON.stringify(personBody(who.rater))) ? "" : "Rest here to hear them…"), likes: el("div") };
    this.node.replaceChildren(el("b", {}, personName(who.rater)), el("p", {}, who.words), parts.says, parts.likes);
    place(this.node);
    const wait = met.has(JSON.stringify(personBody(who.rater))) || isStatic ? 0 : WAIT;
    this.timer = setTimeout(() => this.hear(who.rater, parts), wait);
  }

  async hear(rater, parts) {
    const asking = new AbortController();
    this.asking = asking;
    if (!met.has(JSON.stringify(personBody(rater)))) parts.says.textContent = "Asking…";
    const signal = AbortSignal.any([asking.signal, this.context.signal]);
    try {
      const { likes } = await meet(rater, (name, body, on) => call(name, body, on, signal), {
        says: (said) => parts.says.replaceChildren(...said.slice(0, 2).map((one) => el("p", {}, short(promptText(one.prompt), 50), " ", el("q", {}, short(one.text.trim() || "(nothing)", 60))))),
      });
      const line = (words, one) => el("p", {}, words, el("q", {}, short(one.text, 50)), ` (${signed(one.more)})`);
      if (likes) parts.likes.replaceChildren(line("Likes most: ", likes.most[0]), line("Likes least: ", likes.least[0]));
    } catch (error) {
      if (!signal.aborted) parts.says.replaceChildren(el("p", {}, error.message));
    }
    if (this.rater === rater) this.place(this.node);
  }

  leave() {
    clearTimeout(this.timer);
    this.asking?.abort();
    this.rater = null;
    this.node.hidden = true;
  }
}

function introduce(found, context) {
  const words = found.known
    ? [found.inferred ? "Came after training, known by labels." : "A rater of the data.", `${plural(found.labels, "label")}.`]
    : found.rater.startsWith("new:[") ? ["A point of rater space: nobody who was drawn, and nobody who exists."] : ["Fictitious: drawn from the population, never existed."];
  if (found.personas.length) words.push(`Persona: ${found.personas.join(", ")}.`);
  if (found.group) words.push(`Group: ${found.group}.`);
  const same = context.about.answers ? command("raterhf", "sample", context.about.run, "--rater", found.rater, "--prompt", "...") : command("raterhf", "score", context.about.run, "answers.csv", "--raters", found.rater);
  return [el("p", {}, words.join(" ")), same];
}
