// Dots on a line that do not cover each other.

import { svg } from "explore/dom.js";

const WIDTH = 640;
const RADIUS = 3.4;
const PAD = 14;

// Places of dots: each at its x, as near to the middle as those before it leave room.
export function pack(xs, radius) {
  const placed = [];
  const order = xs.map((x, i) => [x, i]).sort((a, b) => a[0] - b[0]);
  const ys = new Array(xs.length).fill(0);
  for (const [x, i] of order) {
    const near = placed.filter((one) => x - one.x < 2 * radius);
    for (let ring = 0; ; ring += 1) {
      const y = (ring % 2 ? 1 : -1) * Math.ceil(ring / 2) * radius;
      if (near.every((one) => Math.hypot(one.x - x, one.y - y) >= 2 * radius - 0.01)) {
        placed.push({ x, y });
        ys[i] = y;
        break;
      }
    }
  }
  return ys;
}

export function swarm(found, answer, meet) {
  const most = Math.max(...found.margins.flat().map(Math.abs), 0.1);
  const xs = found.margins.map((row) => WIDTH / 2 + (row[answer] / most) * (WIDTH / 2 - PAD));
  const ys = pack(xs, RADIUS);
  const half = Math.max(...ys.map(Math.abs)) + PAD;
  const words = `${found.margins.filter((row) => row[answer] > 0).length} of ${xs.length} jurors like it more than the others' mean`;
  return svg("svg", { viewBox: `0 ${-half} ${WIDTH} ${2 * half}`, class: "dots", role: "img", "aria-label": words },
    svg("line", { x1: WIDTH / 2, x2: WIDTH / 2, y1: -half, y2: half, class: "axis" }),
    xs.map((x, k) => {
      const likes = found.margins[k][answer] > 0;
      return svg(likes ? "circle" : "rect", {
        class: likes ? "likes" : "dislikes", onclick: () => meet(found.jurors[k]),
        ...(likes ? { cx: x, cy: ys[k], r: RADIUS } : { x: x - RADIUS * 0.85, y: ys[k] - RADIUS * 0.85, width: RADIUS * 1.7, height: RADIUS * 1.7 }),
      }, svg("title", {}, `${found.jurors[k]}: ${found.margins[k][answer].toFixed(2)}`));
    }));
}
