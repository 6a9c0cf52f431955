// Jury: answers, what each juror thinks of them, what rules decide, who objects.

import { el, percent, personName, plural, say, short } from "./dom.js";
import { state } from "./state.js";
import { swarm } from "./swarm.js";

const RULES = {
  mean: "highest mean margin", majority: "preferred by more jurors to most others", borda: "ranked above most others", min: "least disliked by anybody",
  nash: "nobody left at zero", "quantile:.1": "best for the tenth that it suits least",
};
let pasted = ""; // answers, one a line, as they were typed last

export const jury = {
  title: "Jury",
  about: "What many people think of some answers",
  async show(root, context) {
    if (!context.about.scores) {
      root.append(el("p", { class: "empty" }, `No jury: ${context.about.no_scores}`));
      return;
    }
    const box = el("textarea", { id: "answers", rows: 5, maxlength: 90000, placeholder: "One answer a line", value: pasted });
    const who = el("select", { id: "jurors" }, el("option", { value: "new" }, "64 fictitious people"), el("option", { value: "all" }, "every known rater"));
    const place = el("div");
    const judge = async () => {
      pasted = box.value;
      const answers = pasted.split("\n").map((line) => line.trim()).filter(Boolean);
      if (!state.prompt) throw new Error("no question: type the one that these answer above");
      if (answers.length < 2) throw new Error("a jury compares answers: paste two or more, one a line");
      if (answers.length > context.about.most_answers) throw new Error(`${answers.length} answers are more than ${context.about.most_answers}, which a jury compares at once; remove some`);
      say("The jury reads…");
      const found = await context.work("jury", { prompt: state.prompt, answers, raters: who.value, n: 64, seed: state.seed });
      place.replaceChildren(...verdict(found, context));
      say(`${plural(found.jurors.length, "juror")}.`);
    };
    root.append(
      el("p", {}, "Paste two or more answers to the question, one a line, or let fictitious people answer it. Every juror scores each answer; rules decide among them."),
      el("div", { class: "row jury-form" }, el("label", { class: "wide" }, el("span", {}, "Answers"), box),
        el("label", {}, el("span", {}, "Jurors"), who), el("button", { type: "button", class: "main", onclick: () => context.attempt(judge) }, "Judge"),
        context.about.answers ? el("button", { type: "button", onclick: () => context.attempt(() => collect(box, context)) }, "Fill in people's answers") : null),
      place);
    if (pasted && state.prompt) await judge();
  },
};

// Different answers of fictitious people to the question, to judge.
async function collect(box, context) {
  if (!state.prompt) throw new Error("no question: type one above");
  const said = await context.work("ask", { prompt: state.prompt, rater: context.about.knows ? "new" : "none", n: Math.max(8, state.n), seed: state.seed });
  box.value = said.rows.filter((row) => row.counts.people).slice(0, 6).map((row) => row.words.replaceAll("\n", " ")).join("\n");
  say("Filled in; Judge lets the jury hear them.");
}

function verdict(found, context) {
  const answers = found.answers;
  const name = (i) => `${i + 1}. ${short(answers[i].text, 60)}`;
  const marks = (one) => [one.divisive ? "most divisive" : "", one.safest ? "safest" : ""].filter(Boolean);
  const rules = found.rules.map((rule) => el("tr", {},
    el("th", { scope: "row" }, rule.rule, el("small", {}, RULES[rule.rule])),
    answers.map((_, i) => el("td", { class: rule.chosen[i] ? "chosen" : "" }, `${rule.chosen[i] ? "✓ " : ""}${rule.verdict[i].toFixed(2)}`, el("small", {}, `${rule.low[i].toFixed(2)} to ${rule.high[i].toFixed(2)}`)))));
  const meetOnMap = (rater) => (context.about.no_map ? say(context.about.no_map, true) : context.show("map", { pick: rater }));
  const dots = (i) => {
    const told = el("p", { class: "juror soft", "aria-live": "polite" });
    return [swarm(found, i, meetOnMap, (words) => { told.textContent = words; }), told];
  };
  const meet = (rater) => el("button", { type: "button", class: "chip", title: rater, onclick: () => meetOnMap(rater) }, personName(rater));
  return [
    el("figure", {}, el("figcaption", {}, el("h2", {}, "What each juror thinks"), el("p", { class: "soft" }, "One dot a juror: the margin of an answer over the mean of that juror's scores; right of the line they like it more than the others. Units: noise of one comparison.")),
      answers.map((one, i) => el("div", { class: "swarm" }, el("h3", {}, name(i)), el("p", { class: "soft" }, [`Favourite of ${percent(one.preferred)}`, ...marks(one)].join(", ")), ...dots(i)))),
    el("h2", {}, "What rules decide"),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Verdicts by rule" }, el("table", {}, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Rule"), answers.map((_, i) => el("th", { scope: "col" }, name(i))))), el("tbody", {}, rules))),
    el("p", { class: "soft" }, "✓: chosen. The range is that of juries drawn again from these jurors."),
    el("h2", {}, "Who would object"),
    el("ul", { class: "objectors" }, answers.map((one, i) => el("li", {}, el("h3", {}, name(i)), one.objectors.length
      ? el("ul", {}, one.objectors.map((who) => el("li", {}, meet(who.rater), ` −${Math.abs(who.margin).toFixed(1)}; likes instead: ${short(answers[who.likes].text, 60)}`)))
      : el("p", { class: "soft" }, "Nobody of this jury.")))),
  ];
}
