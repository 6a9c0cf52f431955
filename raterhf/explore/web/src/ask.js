// Ask: who says what, as it is said; then grouped by what is said, beside vanilla and real people.

import { isStatic } from "./api.js";
import { command, el, percent, personName, plural, say, short } from "./dom.js";
import { change, state } from "./state.js";

const SIDES = [
  ["people", "", "raters"], // who were asked
  ["vanilla", "vanilla RLHF", "vanilla"],
  ["real", "people in the data", "population"],
];
const ROWS = 8; // answers that are shown before the rarer ones
const columns = new Map(); // rater -> what one person said so far, while the page is open

export const ask = {
  title: "Ask",
  about: "Who answers what",
  async show(root, context) {
    if (!state.prompt || !state.asked) {
      root.append(intro(context));
      return;
    }
    const body = { prompt: state.prompt, rater: state.rater, n: state.n, seed: state.seed };
    const place = { cards: el("div", { class: "cards" }), spread: el("div") };
    root.append(place.spread, place.cards);
    let people = [];
    let texts = [];
    const began = performance.now();
    const result = await context.work("ask", body, {
      people(asked) {
        people = asked;
        texts = people.map(() => "");
        say(`${plural(people.length, "answer")} on the way…`);
        place.cards.replaceChildren(...people.map((rater) => card(rater, [], context)));
      },
      grown(grown) {
        for (const [i, text] of Object.entries(grown)) {
          texts[i] = text;
          place.cards.children[i].querySelector(".said").textContent = text;
        }
      },
      answers(answers) {
        texts = answers;
        place.cards.replaceChildren(...groups(answers, context));
        say(`${plural(answers.length, "answer")}; counting…`);
      },
    });
    if (!isStatic && body.rater !== "none") place.cards.before(el("p", { class: "soft" }, "A name holds that person, to ask them more; map shows where they stand; branch takes their words to the multiverse."));
    place.spread.replaceChildren(...(result.rows ? [spread(result, new Set(people).size === 1 ? personName(people[0]) : "these people")] : []), command("raterhf", "sample", context.about.run, "--prompt", state.prompt, "--rater", state.rater, "-n", String(state.n), "--seed", String(state.seed)));
    if (new Set(people).size === 1) root.append(remembered(people[0], body, texts));
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    say(`${plural(texts.length, "answer")} of ${plural(new Set(people).size, "person", "people")}, ${plural(new Set(texts.map((one) => one.group)).size, "different one")}. ${isStatic ? "" : `${seconds} s.`}`);
  },
};

function intro(context) {
  return el("div", { class: "empty" },
    el("h2", {}, "Ask, and see who answers what"),
    el("p", {}, context.about.knows
      ? "The people who answer are fictitious: drawn from the raters that this run learned from, each with a taste of their own. Click a name to hold that person and ask them more."
      : "This run knows no raters: nobody in particular answers. Choose none under Who."));
}

function spread(result, asked) {
  const sides = SIDES.filter(([side]) => side in result.totals).map(([side, name, hue]) => [side, name || asked, hue]);
  const shown = result.rows.slice(0, ROWS);
  const rest = result.rows.slice(ROWS);
  const row = (one) =>
    el("tr", {},
      el("th", { scope: "row" }, short(one.name, 80)),
      el("td", {}, sides.map(([side, name, hue]) => {
        const share = one.counts[side] / result.totals[side];
        return el("div", { class: "bar", title: `${name}: ${one.counts[side]} of ${result.totals[side]}` },
          el("i", { class: hue, style: { width: `${100 * share}%` } }), el("span", {}, `${percent(share)} ${name}`));
      })));
  const table = (rows) => el("table", { class: "spread" }, el("tbody", {}, rows.map(row)));
  return el("figure", {},
    el("figcaption", {}, el("h2", {}, "What is said"), el("p", { class: "soft" }, `Shares of ${sides.map(([side, name]) => `${plural(result.totals[side], "answer")} of ${name}`).join(", ")}. Answers count as the same without regard to case and punctuation, or by their meaning where the run's world knows it.`)),
    table(shown),
    rest.length ? el("details", {}, el("summary", {}, `${plural(rest.length, "rarer answer")}`), table(rest)) : null);
}

function groups(answers, context) {
  const kinds = new Map();
  for (const answer of answers) kinds.set(answer.group, [...(kinds.get(answer.group) ?? []), answer]);
  return [...kinds.values()].sort((a, b) => b.length - a.length).map((group) =>
    el("article", { class: "card" },
      el("h3", {}, short(group[0].name, 120)),
      el("p", { class: "soft" }, `${group.length} of ${answers.length}`),
      el("ul", { class: "people" }, group.map((answer) => el("li", {}, person(answer.rater, context), el("span", { class: "said" }, answer.text), answer.finished ? null : el("em", {}, " (cut)"), branch(answer, context))))));
}

function card(rater, rest, context) {
  return el("article", { class: "card growing" }, person(rater, context), el("p", { class: "said" }), rest);
}

function person(rater, context) {
  if (rater === "none") return el("b", {}, personName(rater));
  const hold = () => {
    context.hold(rater, { n: 1, pick: rater });
    say(`You hold ${personName(rater)}: who is asked next is this person. Let go for new people.`);
  };
  return el("span", { class: "person" },
    el("button", { type: "button", class: "chip", title: rater, disabled: isStatic, onclick: hold, "aria-label": `Hold ${rater}` }, personName(rater)),
    context.about.no_map ? null : el("button", { type: "button", class: "chip", title: "Show on the map", "aria-label": `Show ${rater} on the map`, onclick: () => context.show("map", { pick: rater }) }, "map"));
}

function branch(answer, context) {
  if (isStatic) return null;
  const go = () => context.show("multiverse", { voice: answer.rater, said: "", begin: answer.text });
  return el("button", { type: "button", class: "chip", title: "Branch this text in the multiverse", "aria-label": "Branch this text", onclick: go }, "branch");
}

// One person's answers in a column, this one last.
function remembered(rater, body, answers) {
  const said = columns.get(rater) ?? [];
  columns.set(rater, said);
  for (const answer of answers) {
    if (!said.some((one) => one.prompt === body.prompt && one.text === answer.text)) said.push({ prompt: body.prompt, text: answer.text });
  }
  change({ pick: rater });
  return el("figure", { class: "column" },
    el("figcaption", {}, el("h2", {}, `What ${personName(rater)} said so far`)),
    el("dl", {}, said.flatMap((one) => [el("dt", {}, one.prompt), el("dd", {}, one.text)])));
}
