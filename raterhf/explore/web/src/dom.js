// Elements made of parts. What a model or a rater says goes in as text nodes alone, and is never read as markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue; // not there
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, one] of Object.entries(value)) node.style.setProperty(key, one);
    else if (name === "value") node.value = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false));
  return node;
}

export const el = (tag, props = {}, ...children) => fill(document.createElement(tag), props, children);
export const svg = (tag, props = {}, ...children) => fill(document.createElementNS(SVG, tag), props, children);

export const percent = (share) => (share > 0 && share < 0.01 ? "under 1 %" : `${Math.round(100 * share)} %`);
export const short = (text, most = 60) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
export const plural = (n, one, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;
export const promptText = (prompt) => (typeof prompt === "string" ? prompt : prompt.map((turn) => `${turn.role}: ${turn.content}`).join("\n"));

// A fictitious rater's number and a point have many digits: their beginning is enough to tell them apart on a page.
export function personName(rater) {
  if (rater === "none") return "nobody in particular";
  if (rater.startsWith("new:[")) return short(rater, 22);
  const number = /^new:(\d{7,})(.*)$/.exec(rater);
  return number ? `new:${number[1].slice(0, 5)}…${number[2]}` : rater;
}

export function say(text, wrong = false) {
  const place = document.getElementById("status");
  place.textContent = text;
  place.classList.toggle("wrong", wrong);
}

const quoted = (word) => `'${word.replaceAll("'", "'\\''")}'`;

// A command of the terminal that gives the same, to copy.
export const command = (...words) =>
  el("p", { class: "command" }, "In the terminal: ", el("code", {}, words.map((word) => (/^[\w:./-]+$/.test(word) ? word : quoted(word))).join(" ")));
