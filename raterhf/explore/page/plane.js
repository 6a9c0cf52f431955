// From rater space to pixels, and the population's density behind the marks.

const EDGE = 0.06; // of the drawing, left free around the outermost
const DARKEST = 150; // of 255: the densest place
const COARSE = 6; // pixels of a cell of the density

export class Plane {
  // Fits everybody into width x height pixels, one scale for both axes.
  constructor(space, width, height) {
    const all = [...space.numbered, ...space.known.map((one) => one.at)];
    const range = (axis) => [Math.min(...all.map((at) => at[axis])), Math.max(...all.map((at) => at[axis]))];
    const [[left, right], [low, high]] = [range(0), range(1)];
    this.width = width;
    this.height = height;
    this.scale = (1 - 2 * EDGE) * Math.min(width / Math.max(right - left, 1e-6), height / Math.max(high - low, 1e-6));
    this.middle = [(left + right) / 2, (low + high) / 2];
  }

  pixel([x, y]) {
    return [this.width / 2 + this.scale * (x - this.middle[0]), this.height / 2 - this.scale * (y - this.middle[1])];
  }

  point([x, y]) {
    return [this.middle[0] + (x - this.width / 2) / this.scale, this.middle[1] - (y - this.height / 2) / this.scale];
  }
}

// The density of a mixture of Gaussians { weights, means, covariances } at a point.
function density({ weights, means, covariances }, [x, y]) {
  let sum = 0;
  for (let c = 0; c < weights.length; c += 1) {
    const [[a, b], [, d]] = covariances[c];
    const determinant = Math.max(a * d - b * b, 1e-9);
    const [dx, dy] = [x - means[c][0], y - means[c][1]];
    const square = (d * dx * dx - 2 * b * dx * dy + a * dy * dy) / determinant;
    sum += (weights[c] * Math.exp(-square / 2)) / Math.sqrt(determinant);
  }
  return sum;
}

export function shade(canvas, population, plane) {
  const [width, height] = [Math.ceil(plane.width / COARSE), Math.ceil(plane.height / COARSE)];
  canvas.width = width;
  canvas.height = height;
  const paint = canvas.getContext("2d");
  const picture = paint.createImageData(width, height);
  const colour = getComputedStyle(canvas).getPropertyValue("--population").trim();
  const [r, g, b] = [1, 3, 5].map((place) => parseInt(colour.slice(place, place + 2), 16));
  const cells = [];
  for (let i = 0; i < width * height; i += 1) {
    const at = [((i % width) + 0.5) * COARSE, (Math.floor(i / width) + 0.5) * COARSE];
    cells.push(density(population, plane.point(at)));
  }
  const most = Math.max(...cells);
  cells.forEach((cell, i) => picture.data.set([r, g, b, Math.round((DARKEST * cell) / most)], 4 * i));
  paint.putImageData(picture, 0, 0);
}
