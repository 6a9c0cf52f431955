// The tree of how a text goes on, as blocks whose height is the probability, or as a list.

import { el, percent, plural } from "./dom.js";

const SHOWN = 0.002; // of an end that has a row of its own
const THIN = 0.07; // probability of a block that has room for one line

// A button that leads somewhere, or the same without a way.
export const wayButton = (go, props, ...children) => el("button", { type: "button", class: "way", disabled: go === null, onclick: go, ...props }, ...children);

export function drawTree(found, shape, wayTo) {
  const words = `How it goes on, for ${found.voice === "everyone" ? plural(found.people, "person", "people") : found.voice === "vanilla" ? "vanilla RLHF" : "one voice"}, down to ${percent(found.least)}. Click one to go there.`;
  const draw = shape === "tree" ? list : blocks;
  if (!found.tree.ways.length && !found.tree.text) return [el("h2", {}, "How it may go on"), el("p", { class: "soft" }, found.tree.ends > 0.5 ? `It ends here: ${percent(found.tree.ends)}.` : `In many ways, each with less than ${percent(found.least)}.`)];
  return [el("h2", {}, "How it may go on"), el("p", { class: "soft" }, words), draw(found.tree, wayTo)];
}

const visible = (text) => text.replaceAll("\n", "↵");

function endsOf(node) {
  return !node.is_end && node.ends >= SHOWN ? node.ends : 0;
}

function blocks(root, wayTo) {
  const hue = (depth) => `depth-${depth % 4}`;
  const place = (node, depth) => {
    const ways = node.is_end ? [] : node.ways.map((way) => place(way, depth + 1));
    const end = endsOf(node);
    if (end) ways.push(el("div", { class: "node", style: { "--p": end } }, el("span", { class: "block end", title: `ends here: ${percent(end)}` }, "■")));
    const rest = Math.max(0, node.p - node.ways.reduce((sum, way) => sum + way.p, 0) - node.ends);
    if (ways.length && rest > 0.004) ways.push(el("div", { class: "node rest", style: { "--p": rest }, title: `others, each under the least: ${percent(rest)}` }));
    const words = `${visible(node.text)}${node.is_end ? " ■" : ""}`;
    const block = wayButton(wayTo(node.ids), { class: `block ${hue(depth)}${node.p < THIN ? " thin" : ""}`, title: `${words}: ${percent(node.p)}` },
      el("span", {}, words || "·"), el("small", {}, percent(node.p)));
    return el("div", { class: "node", style: { "--p": node.p } }, depth || node.text ? block : null, ways.length ? el("div", { class: "nodes" }, ways) : null);
  };
  const columns = (node) => (node.text ? 1 : 0) + Math.max(0, ...(node.is_end ? [] : node.ways.map(columns)));
  return el("div", { class: "blocks", style: { "--columns": Math.max(1, columns(root)) }, tabindex: 0, role: "group", "aria-label": "Continuations as blocks" }, place(root, 0));
}

function list(root, wayTo) {
  const place = (node) => el("li", {},
    wayButton(wayTo(node.ids), {}, el("i", { class: "raters", style: { width: `${100 * node.p}%` } }), el("span", {}, visible(node.text) || "(the text so far)", node.is_end ? " ■" : ""), el("b", {}, percent(node.p))),
    !node.is_end && (node.ways.length || endsOf(node))
      ? el("ul", {}, node.ways.map(place), endsOf(node) ? el("li", { class: "soft" }, `■ ends here: ${percent(node.ends)}`) : null) : null);
  return el("ul", { class: "tree" }, place(root));
}
