// Dots on a line that do not cover each other.

import { svg } from "explore/dom.js";

const WIDTH = 640;
const RADIUS = 3.4; // of a dot, of 64; many are smaller
const LEAST = 1.2;
const PAD = 14;

// How far from the line each dot lies: as near to it as the dots before leave room.
function pack(xs, radius) {
  const placed = [];
  const order = xs.map((x, i) => [x, i]).sort((a, b) => a[0] - b[0]);
  const ys = new Array(xs.length).fill(0);
  for (const [x, i] of order) {
    const near = placed.filter((one) => x - one.x < 2 * radius);
    const taken = near.map((one) => [one.y, Math.sqrt(4 * radius ** 2 - (x - one.x) ** 2)]).map(([y, reach]) => [y - reach, y + reach]);
    ys[i] = nearestFree(taken.sort((a, b) => a[0] - b[0]));
    placed.push({ x, y: ys[i] });
  }
  return ys;
}

// The place nearest to 0 that is inside none of these intervals, which are sorted by where they begin.
function nearestFree(intervals) {
  let run = null; // of intervals that overlap, the one that 0 may lie in
  for (const [low, high] of intervals) {
    if (run && low < run[1]) run[1] = Math.max(run[1], high);
    else if (run && run[1] > 0) break;
    else run = [low, high];
  }
  if (!run || run[0] >= 0 || run[1] <= 0) return 0;
  return -run[0] < run[1] ? run[0] : run[1];
}

export function swarm(found, answer, meet) {
  const most = Math.max(...found.margins.flat().map(Math.abs), 0.1);
  const xs = found.margins.map((row) => WIDTH / 2 + (row[answer] / most) * (WIDTH / 2 - PAD));
  const radius = Math.max(LEAST, RADIUS * Math.min(1, Math.sqrt(64 / xs.length)));
  const ys = pack(xs, radius);
  const half = Math.max(...ys.map(Math.abs)) + PAD;
  const words = `${found.margins.filter((row) => row[answer] > 0).length} of ${xs.length} jurors like it more than the others' mean`;
  return svg("svg", { viewBox: `0 ${-half} ${WIDTH} ${2 * half}`, class: "dots", role: "img", "aria-label": words },
    svg("line", { x1: WIDTH / 2, x2: WIDTH / 2, y1: -half, y2: half, class: "axis" }),
    xs.map((x, k) => {
      const likes = found.margins[k][answer] > 0;
      return svg(likes ? "circle" : "rect", {
        class: likes ? "likes" : "dislikes", onclick: () => meet(found.jurors[k]),
        ...(likes ? { cx: x, cy: ys[k], r: radius } : { x: x - radius * 0.85, y: ys[k] - radius * 0.85, width: radius * 1.7, height: radius * 1.7 }),
      }, svg("title", {}, `${found.jurors[k]}: ${found.margins[k][answer].toFixed(2)}`));
    }));
}
