// What may fool a network: changes of 32×32 pixels, Uint8Array (32 · 32 · 3). Plain settings change nothing.
import { SIDE } from "./square.js";

/** brightness, contrast: factors; blur: standard deviation in pixels; patch: side in pixels, x, y: its centre, 0 to 1. */
export const PLAIN = { brightness: 1, contrast: 1, blur: 0, rotation: 0, patch: 0, x: 0.5, y: 0.5 };
const GREY = 128;

/** The patch's first column and row, as many pixels wide and high as it says, within the picture. */
export const patchCorner = ({ patch, x, y }) =>
  [x, y].map((at) => Math.min(SIDE - patch, Math.max(0, Math.round(at * SIDE - patch / 2))));

/** All of it in one order: brightness, contrast, blur, patch. (The picture is turned before it is scaled down.) */
export const distort = (pixels, { brightness, contrast, blur, patch, ...rest }) => {
  let values = Float64Array.from(pixels);
  if (brightness !== 1) values = values.map((value) => value * brightness);
  if (contrast !== 1) {
    // Around the picture's own mean grey (ITU-R 601), so that contrast alone makes it no darker.
    let grey = 0;
    for (let i = 0; i < values.length; i += 3) grey += 0.299 * values[i] + 0.587 * values[i + 1] + 0.114 * values[i + 2];
    grey /= SIDE * SIDE;
    values = values.map((value) => grey + contrast * (value - grey));
  }
  if (blur > 0) values = blurred(values, blur);
  const changed = Uint8ClampedArray.from(values);
  if (patch > 0) {
    const [left, top] = patchCorner({ patch, ...rest });
    for (let y = top; y < top + patch; y++) {
      changed.fill(GREY, 3 * (y * SIDE + left), 3 * (y * SIDE + left + patch));
    }
  }
  return new Uint8Array(changed.buffer);
};

// A Gaussian, rows then columns; beyond the border the last pixel goes on.
const blurred = (values, sigma) => {
  const reach = Math.ceil(3 * sigma);
  const kernel = Float64Array.from({ length: 2 * reach + 1 }, (_, i) => Math.exp(-((i - reach) ** 2) / (2 * sigma ** 2)));
  const sum = kernel.reduce((total, weight) => total + weight, 0);
  const pass = (from, step, across) => {
    const to = new Float64Array(from.length);
    for (let line = 0; line < SIDE; line++) {
      for (let i = 0; i < SIDE; i++) {
        for (let k = -reach; k <= reach; k++) {
          const at = line * across + Math.min(SIDE - 1, Math.max(0, i + k)) * step;
          for (let c = 0; c < 3; c++) to[line * across + i * step + c] += (kernel[k + reach] / sum) * from[at + c];
        }
      }
    }
    return to;
  };
  return pass(pass(values, 3, 3 * SIDE), 3 * SIDE, 3);
};
