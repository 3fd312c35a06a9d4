// From any picture to the 32×32 pixels that the network takes, as cifar_model.pictures does it on the server: the same
// square, the same anti-aliased bicubic scaling, so that both answer the same. Pixels are RGB, rows first.
export const SIDE = 32;
const KEPT_SIDE = 16 * SIDE, KEPT_PIXELS = 4_000_000; // as in decode: larger pictures become means of blocks first
const BAND = 1_000_000; // pixels that are read at a time

/** As Python's round and NumPy's rint: halves go to the even number. */
export const roundEven = (value) => {
  const down = Math.floor(value), rest = value - down;
  return rest === 0.5 ? down + (down % 2) : Math.round(value);
};

/** The largest square within width × height; x and y from 0 (left, top) to 1 say where it sits. */
export const cropBox = (width, height, x = 0.5, y = 0.5) => {
  const side = Math.min(width, height);
  return { left: roundEven((width - side) * x), top: roundEven((height - side) * y), side };
};

/** How far a picture is reduced before it is scaled: a whole factor, 1 for small ones. */
export const reduction = (width, height) =>
  Math.max(1, Math.floor(Math.min(width, height) / KEPT_SIDE), Math.floor(Math.sqrt((width * height) / KEPT_PIXELS)));

/**
 * Read a picture (anything a canvas draws) laid over white and reduced by whole blocks.
 * Returns { data: Uint8ClampedArray RGBA, width, height }.
 */
export const readPicture = (source, width, height) => {
  const factor = reduction(width, height);
  const reduced = { width: Math.ceil(width / factor), height: Math.ceil(height / factor) };
  reduced.data = new Uint8ClampedArray(4 * reduced.width * reduced.height);
  const rows = Math.max(1, Math.floor(BAND / (width * factor))) * factor;
  const canvas = new OffscreenCanvas(width, Math.min(rows, height));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  for (let top = 0; top < height; top += rows) {
    const high = Math.min(rows, height - top);
    context.fillStyle = "#fff";
    context.fillRect(0, 0, width, high);
    context.drawImage(source, 0, -top);
    const band = context.getImageData(0, 0, width, high);
    reduced.data.set(factor === 1 ? band.data : blockMeans(band, factor), 4 * reduced.width * Math.floor(top / factor));
  }
  return reduced;
};

const blockMeans = ({ data, width, height }, factor) => {
  const wide = Math.ceil(width / factor), high = Math.ceil(height / factor);
  const means = new Uint8ClampedArray(4 * wide * high);
  const sums = new Float64Array(4 * wide);
  for (let y = 0; y < high; y++) {
    const bottom = Math.min(height, (y + 1) * factor);
    sums.fill(0);
    for (let row = y * factor; row < bottom; row++) {
      for (let x = 0, i = 4 * row * width; x < width; x++, i += 4) {
        const to = 4 * Math.floor(x / factor);
        for (let c = 0; c < 3; c++) sums[to + c] += data[i + c];
      }
    }
    for (let x = 0; x < wide; x++) {
      const count = (bottom - y * factor) * (Math.min(width, (x + 1) * factor) - x * factor);
      for (let c = 0; c < 3; c++) means[4 * (y * wide + x) + c] = Math.floor(sums[4 * x + c] / count + 0.5);
      means[4 * (y * wide + x) + 3] = 255;
    }
  }
  return means;
};

/** The pixels beyond the square that the scaling looks at, too. */
export const margin = (side) => Math.ceil((2 * side) / SIDE) + 1;

// Keys' cubic with a = -0.5, stretched where the picture shrinks: Pillow's BICUBIC.
const cubic = (x) => {
  x = Math.abs(x);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
};

// For each of the 32 outputs: the first input pixel and the weights. `start` and `length` of the box, `limit` of all.
const known = new Map(); // a camera asks for the same ones again and again
const weightsOf = (start, length, limit) => {
  const key = `${start} ${length} ${limit}`;
  if (!known.has(key)) {
    if (known.size > 99) known.clear();
    known.set(key, computeWeights(start, length, limit));
  }
  return known.get(key);
};
const computeWeights = (start, length, limit) => {
  const scale = length / SIDE, stretch = Math.max(1, scale), support = 2 * stretch;
  return Array.from({ length: SIDE }, (_, i) => {
    const centre = start + (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const end = Math.min(limit, Math.trunc(centre + support + 0.5));
    const weights = Float64Array.from({ length: end - first }, (_, k) => cubic((first + k - centre + 0.5) / stretch));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return { first, weights: weights.map((weight) => weight / sum) };
  });
};

const clip = (value) => (value <= 0 ? 0 : value >= 255 ? 255 : Math.floor(value + 0.5));

// Which of the two passes Pillow 13 takes first: it shows where the first one clips what overshoots.
const downFirst = (width, height) => height + SIDE > 2 * width;

// One pass: scale one axis of RGB(A) pixels to 32. Of the other axis only `count` lines from `first` on are wanted.
// `step`, `line`: how far apart in `from` neighbours along the axis, and lines, lie; likewise in `to`.
const pass = (from, step, line, weights, { first, count }, toStep, toLine) => {
  const to = new Uint8Array(SIDE * count * 3);
  for (let i = 0; i < SIDE; i++) {
    const { first: start, weights: factors } = weights[i];
    for (let l = 0; l < count; l++) {
      let red = 0, green = 0, blue = 0;
      for (let k = 0, at = start * step + (first + l) * line; k < factors.length; k++, at += step) {
        const factor = factors[k];
        red += factor * from[at];
        green += factor * from[at + 1];
        blue += factor * from[at + 2];
      }
      const at = i * toStep + l * toLine;
      to[at] = clip(red);
      to[at + 1] = clip(green);
      to[at + 2] = clip(blue);
    }
  }
  return to;
};

// The lines that a second pass with these weights looks at, and the weights counted from there.
const wantedBy = (weights) => {
  const { first } = weights[0], last = weights[SIDE - 1];
  const shifted = weights.map((one) => ({ first: one.first - first, weights: one.weights }));
  return [{ first, count: last.first + last.weights.length - first }, shifted];
};

/**
 * Scale a square of a picture to 32×32, in two passes of 8 bits each as Pillow does.
 * `picture`: { data: RGBA, width, height }; `box`: { left, top, side } in it; `whole`: the size of the picture where
 * `picture` is a part of it. Returns Uint8Array (32 · 32 · 3).
 */
export const fitSquare = (picture, { left, top, side }, whole = picture) => {
  const { data, width, height } = picture;
  if (side === SIDE) {
    const same = new Uint8Array(SIDE * SIDE * 3);
    for (let y = 0, to = 0; y < SIDE; y++) {
      for (let x = 0, from = 4 * ((top + y) * width + left); x < SIDE; x++, from += 4) {
        for (let c = 0; c < 3; c++) same[to++] = data[from + c];
      }
    }
    return same;
  }
  const across = weightsOf(left, side, width), down = weightsOf(top, side, height);
  const all = { first: 0, count: SIDE };
  if (downFirst(whole.width, whole.height)) {
    const [columns, shifted] = wantedBy(across);
    const low = pass(data, 4 * width, 4, down, columns, 3 * columns.count, 3);
    return pass(low, 3, 3 * columns.count, shifted, all, 3, 3 * SIDE);
  }
  const [rows, shifted] = wantedBy(down);
  const narrow = pass(data, 4, 4 * width, across, rows, 3, 3 * SIDE);
  return pass(narrow, 3 * SIDE, 3, shifted, all, 3 * SIDE, 3);
};

/** The mirror image of 32×32 pixels. */
export const mirrored = (pixels) => {
  const turned = new Uint8Array(pixels.length);
  for (let y = 0, to = 0; y < SIDE; y++) {
    for (let x = SIDE - 1; x >= 0; x--) for (let c = 0; c < 3; c++) turned[to++] = pixels[(y * SIDE + x) * 3 + c];
  }
  return turned;
};
