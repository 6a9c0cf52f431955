// You: ten comparisons, chosen to tell most; where they place you, how sure that is, and the model answering as you.

import { command, el, percent, promptText, say, svg } from "./dom.js";
import { axesOf, densityPaths } from "./plane.js";
import { state } from "./state.js";

let labels = []; // what was answered, while the page is open

export const you = {
  title: "You",
  about: "Where you stand",
  async show(root, context) {
    const cannot = context.about.no_map || context.about.no_scores;
    if (cannot) {
      root.append(el("p", { class: "empty" }, `You cannot be placed: ${cannot}`));
      return;
    }
    const place = { question: el("div"), standing: el("div") };
    root.append(el("p", {}, "Which answer do you like better? Each pair is chosen to tell most about you, beside what you said before. Nothing is saved."), el("div", { class: "beside" }, place.question, place.standing));
    const space = await context.work("map", { by: "pca" });
    const next = async () => {
      say("Working out what to ask…");
      const found = await context.work("you", { labels, seed: state.seed });
      place.question.replaceChildren(...(found.question ? ask(found, next, context) : finished(found, context, next)));
      place.standing.replaceChildren(standing(found, space));
      say("");
      place.question.querySelector("button")?.focus();
    };
    await next();
  },
};

function ask(found, next, context) {
  const { prompt, a, b } = found.question;
  const answer = (label) => () => {
    labels = [...labels, { prompt, a, b, label }];
    context.attempt(next);
  };
  return [
    el("h2", {}, `Pair ${found.labels + 1} of ${found.enough}`),
    el("p", { class: "asked" }, promptText(prompt)),
    el("div", { class: "pair" }, el("button", { type: "button", onclick: answer(1) }, a), el("button", { type: "button", onclick: answer(-1) }, b)),
    el("p", { class: "row" }, el("button", { type: "button", onclick: answer(0) }, "Neither is better"), again(next, context)),
  ];
}

function again(next, context) {
  const back = (many) => () => {
    labels = many ? [] : labels.slice(0, -1);
    context.attempt(next);
  };
  return labels.length ? [el("button", { type: "button", onclick: back(false) }, "Back"), el("button", { type: "button", onclick: back(true) }, "Begin again")] : [];
}

function finished(found, context, next) {
  const asYou = () => {
    context.hold(found.rater, { n: 1 });
    context.show("ask", { asked: state.prompt ? 1 : 0 });
  };
  return [
    el("h2", {}, "That is you"),
    el("p", {}, context.about.answers ? "The model can answer as you would, as far as ten answers tell." : "The reward model can score as you would, as far as ten answers tell."),
    el("p", { class: "row" }, context.about.answers ? el("button", { type: "button", class: "main", onclick: asYou }, "Answer as me") : null, again(next, context)),
    context.about.answers ? command("raterhf", "sample", context.about.run, "--rater", found.rater, "--prompt", "...") : command("raterhf", "score", context.about.run, "answers.csv", "--raters", found.rater),
  ];
}

function standing(found, space) {
  const [width, height] = [420, 300];
  const axes = axesOf(space, width, height);
  const [x, y] = [axes.x(found.at[0]), axes.y(found.at[1])];
  const { angle, radii } = ellipse(found.covariance, axes.scale);
  return el("figure", { class: "map" },
    el("div", { class: "stage", style: { "aspect-ratio": `${width} / ${height}`, "min-height": 0, "max-width": `${width}px` } },
      svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "You on the map of raters" },
        svg("g", { class: "density" }, densityPaths(space, axes, width, height).map((d) => svg("path", { d }))),
        space.known.map((one) => svg("circle", { class: "known", cx: axes.x(one.at[0]), cy: axes.y(one.at[1]), r: 2.5 })),
        svg("ellipse", { class: "unsure", cx: x, cy: y, rx: radii[0], ry: radii[1], transform: `rotate(${angle} ${x} ${y})` }),
        svg("path", { class: "star", d: `M${x},${y - 9}l2.6,6 6.4,.6 -4.9,4.2 1.5,6.2 -5.6,-3.3 -5.6,3.3 1.5,-6.2 -4.9,-4.2 6.4,-.6z` }),
        svg("text", { class: "picked-name", x: x + 12, y: y - 8 }, "you"))),
    el("figcaption", { class: "soft" }, `The star is you; you are inside the ring with two chances in three. ${percent(found.unknown)} of what people differ in is still unknown of you.`));
}

// The ring of two dimensions within which two thirds of a Gaussian lie.
function ellipse([[a, b], [, d]], scale) {
  const middle = (a + d) / 2;
  const apart = Math.hypot((a - d) / 2, b);
  const wide = Math.sqrt(2 * Math.log(3));
  const radii = [middle + apart, Math.max(0, middle - apart)].map((value) => scale * wide * Math.sqrt(value));
  return { radii, angle: (-90 / Math.PI) * Math.atan2(2 * b, a - d) };
}
