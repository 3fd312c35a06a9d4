// The five ways to mix of cifar_model.pictures.mix, to the same pixels. a, b: Uint8Array (32 · 32 · 3); ratio: share of a.
import { SIDE, roundEven } from "./square.js";

const CELL = 4; // pixels a side of a checkerboard cell
const level = (value) => Math.min(255, Math.max(0, roundEven(value)));
const each = (a, make) => Uint8Array.from(a, (value, i) => make(value, i));

const average = (a, b, ratio) => each(a, (value, i) => level(ratio * value + (1 - ratio) * b[i]));

// Stored sRGB values ↔ light, 0 to 1 (IEC 61966-2-1).
const LIGHT = Float64Array.from({ length: 256 }, (_, value) => {
  const v = value / 255;
  return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
});
const stored = (light) => (light <= 0.0031308 ? light * 12.92 : 1.055 * light ** (1 / 2.4) - 0.055);
const linear = (a, b, ratio) =>
  each(a, (value, i) => level(stored(ratio * LIGHT[value] + (1 - ratio) * LIGHT[b[i]]) * 255));

const halves = (a, b, ratio) => {
  const wide = roundEven(ratio * SIDE);
  return each(a, (value, i) => (Math.floor(i / 3) % SIDE < wide ? value : b[i]));
};

// Bayer's index matrix (1973): each prefix is spread evenly.
const bayer = (size) => {
  if (size === 1) return [[0]];
  const quarter = bayer(size / 2).map((row) => row.map((value) => 4 * value));
  const add = (n) => quarter.map((row) => row.map((value) => value + n));
  const [right, lower, diagonal] = [add(2), add(3), add(1)];
  return [...quarter.map((row, y) => [...row, ...right[y]]), ...lower.map((row, y) => [...row, ...diagonal[y]])];
};
const CELLS = SIDE / CELL, ORDER = bayer(CELLS);
const checkerboard = (a, b, ratio) => {
  const turned = roundEven(ratio * CELLS ** 2);
  return each(a, (value, i) => {
    const pixel = Math.floor(i / 3), x = pixel % SIDE, y = Math.floor(pixel / SIDE);
    return ORDER[Math.floor(y / CELL)][Math.floor(x / CELL)] < turned ? value : b[i];
  });
};

// Rows of the orthonormal cosine transform (DCT-II); row k is k / 2 cycles a picture.
const BASIS = Array.from({ length: SIDE }, (_, k) =>
  Float64Array.from(
    { length: SIDE },
    (_, i) => Math.cos((Math.PI * (2 * i + 1) * k) / (2 * SIDE)) * Math.sqrt((k ? 2 : 1) / SIDE),
  ),
);
// basis · plane · basisᵀ, or with both transposed: the way there and the way back.
const transform = (plane, back) => {
  const at = back ? (k, i) => BASIS[i][k] : (k, i) => BASIS[k][i];
  const half = new Float64Array(SIDE * SIDE), whole = new Float64Array(SIDE * SIDE);
  for (let k = 0; k < SIDE; k++) {
    for (let i = 0; i < SIDE; i++) {
      const factor = at(k, i);
      for (let x = 0; x < SIDE; x++) half[k * SIDE + x] += factor * plane[i * SIDE + x];
    }
  }
  for (let k = 0; k < SIDE; k++) {
    for (let l = 0; l < SIDE; l++) {
      let sum = 0;
      for (let x = 0; x < SIDE; x++) sum += at(l, x) * half[k * SIDE + x];
      whole[k * SIDE + l] = sum;
    }
  }
  return whole;
};
// Hybrid images (Oliva, Torralba & Schyns 2006): the Gaussian low pass of a plus what b has above it.
const frequencies = (a, b, ratio) => {
  const cutoff = (4 * ratio) / (1 - ratio), mixed = new Uint8Array(a.length);
  for (let c = 0; c < 3; c++) {
    const plane = Float64Array.from({ length: SIDE * SIDE }, (_, i) => a[3 * i + c] - b[3 * i + c]);
    const spectrum = transform(plane, false).map((value, i) => {
      const k = Math.floor(i / SIDE), l = i % SIDE;
      return value * Math.exp((-Math.LN2 * (k * k + l * l + 0.25)) / 4 / cutoff ** 2);
    });
    transform(spectrum, true).forEach((value, i) => (mixed[3 * i + c] = level(b[3 * i + c] + value)));
  }
  return mixed;
};

const WAYS = { average, linear, halves, checkerboard, frequencies };

/** Mix two pictures; at ratio 1 the mix is a, at 0 it is b. */
export const mix = (a, b, ratio, way) => WAYS[way](a, b, ratio);
