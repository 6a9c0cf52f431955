// One person: who they are, what they say, what they like more and less than others.

import { isStatic } from "explore/api.js";
import { command, el, personName, plural, promptText, say, short } from "explore/dom.js";
import { state } from "explore/state.js";

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
  say(`Meeting ${personName(rater)}…`);
  const { likes, why } = await context.work("person", { rater, seed: state.seed }, {
    who(found) {
      parts.who.replaceChildren(...introduce(found, context));
      if (found.at) placed(found.at);
    },
    says(said) {
      parts.says.replaceChildren(el("h3", {}, "Says"), el("dl", {}, said.flatMap((one) => [el("dt", {}, promptText(one.prompt)), el("dd", {}, one.text)])));
    },
  });
  say("");
  if (!likes) {
    parts.likes.replaceChildren(el("p", { class: "soft" }, `What they like is not known: ${why}`));
    return;
  }
  const list = (title, rows) => [el("h3", {}, title), el("ul", { class: "likes" }, rows.map((one) =>
    el("li", {}, el("b", {}, short(one.text, 100)), ` (${one.more > 0 ? "+" : "−"}${Math.abs(one.more).toFixed(1)}) `, el("span", { class: "soft" }, short(promptText(one.prompt), 80)))))];
  parts.likes.replaceChildren(
    ...list("Likes more than others do", likes.most), ...list("Likes less than others do", likes.least),
    el("p", { class: "soft" }, `Of ${likes.of} answers in the data, beside 32 fictitious people; in units of the noise of one comparison.`));
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
