// Dots on a line that do not cover each other.

import { forceCollide, forceSimulation, forceY } from "d3-force";

import { personName, svg } from "./dom.js";

const WIDTH = 640;
const RADIUS = 3.4; // of a dot, of 64; many are smaller
const LEAST = 1.2;
const PAD = 14;
const STEPS = 150; // until nothing moves that an eye sees

// How far from the line each dot lies, where its place along the line is fixed.
function pack(xs, radius) {
  const dots = xs.map((x) => ({ fx: x, x, y: 0 }));
  forceSimulation(dots).force("line", forceY(0).strength(0.08)).force("room", forceCollide(radius).iterations(4)).stop().tick(STEPS);
  return dots.map((dot) => dot.y);
}

// One dot a juror; arrows go along them and Enter meets one, as a click does.
export function swarm(found, answer, meet, tell) {
  const margins = found.margins.map((row) => row[answer]);
  const most = Math.max(...found.margins.flat().map(Math.abs), 0.1);
  const xs = margins.map((margin) => WIDTH / 2 + (margin / most) * (WIDTH / 2 - PAD));
  const radius = Math.max(LEAST, RADIUS * Math.min(1, Math.sqrt(64 / xs.length)));
  const ys = pack(xs, radius);
  const half = Math.max(...ys.map(Math.abs)) + PAD;
  const order = xs.map((_, k) => k).sort((a, b) => xs[a] - xs[b]);
  const words = `${margins.filter((margin) => margin > 0).length} of ${xs.length} jurors like it more than the others' mean. Arrow keys go from juror to juror, Enter meets one.`;
  const dot = (k) => {
    const likes = margins[k] > 0;
    return svg(likes ? "circle" : "rect", {
      class: likes ? "likes" : "dislikes", onclick: () => meet(found.jurors[k]), onpointerenter: () => aim(k),
      ...(likes ? { cx: xs[k], cy: ys[k], r: radius } : { x: xs[k] - radius * 0.85, y: ys[k] - radius * 0.85, width: radius * 1.7, height: radius * 1.7 }),
    });
  };
  const ring = svg("circle", { class: "aimed", r: radius + 2.5, visibility: "hidden" });
  let at = null;
  function aim(k) {
    at = k;
    for (const [name, value] of Object.entries({ cx: xs[k], cy: ys[k], visibility: "visible" })) ring.setAttribute(name, value);
    tell(`${personName(found.jurors[k])}: ${margins[k] > 0 ? "+" : "−"}${Math.abs(margins[k]).toFixed(2)}`);
  }
  function key(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by) aim(order[Math.min(order.length - 1, Math.max(0, (at === null ? (by > 0 ? -1 : order.length) : order.indexOf(at)) + by))]);
    else if (event.key === "Enter" && at !== null) meet(found.jurors[at]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
  return svg("svg", { viewBox: `0 ${-half} ${WIDTH} ${2 * half}`, class: "dots", role: "application", tabindex: 0, "aria-label": words, onkeydown: key },
    svg("line", { x1: WIDTH / 2, x2: WIDTH / 2, y1: -half, y2: half, class: "axis" }), xs.map((_, k) => dot(k)), ring);
}
