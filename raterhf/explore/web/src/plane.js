// From rater space to pixels, who stands near a place, and how densely the population's people stand.

import { contourDensity } from "d3-contour";
import { quadtree } from "d3-quadtree";
import { scaleLinear } from "d3-scale";

const EDGE = 0.06; // of the drawing, left free around the outermost
const SHADES = 8; // of the density, one above the other

// Fits everybody into width x height pixels, one scale for both axes: functions of a point's coordinates.
export function axesOf(space, width, height) {
  const all = [...space.numbered, ...space.known.map((one) => one.at)];
  const range = (axis) => [Math.min(...all.map((at) => at[axis])), Math.max(...all.map((at) => at[axis]))];
  const [[left, right], [low, high]] = [range(0), range(1)];
  const scale = (1 - 2 * EDGE) * Math.min(width / Math.max(right - left, 1e-6), height / Math.max(high - low, 1e-6));
  const axis = (from, to, pixels, up) => {
    const [middle, half] = [(from + to) / 2, pixels / 2 / scale];
    return scaleLinear([middle - half, middle + half], up ? [pixels, 0] : [0, pixels]);
  };
  return { x: axis(left, right, width, false), y: axis(low, high, height, true), scale };
}

// What finds the nearest of some people, each with `at`, within a distance in rater space.
export const finder = (people) => quadtree(people, (one) => one.at[0], (one) => one.at[1]);

// Outlines in pixels, one around the other, of where the fictitious people stand densely: the paths of SVG.
export function densityPaths(space, axes, width, height) {
  const found = contourDensity().x((at) => axes.x(at[0])).y((at) => axes.y(at[1])).size([width, height]).bandwidth(Math.max(10, width / 45)).thresholds(SHADES)(space.numbered);
  return found.map((shade) => shade.coordinates.flat().map((ring) => `M${ring.map((at) => at.map((one) => one.toFixed(1))).join("L")}Z`).join(""));
}
