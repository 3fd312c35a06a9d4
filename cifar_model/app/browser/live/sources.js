// Where pictures come from: the camera, a file, the screen. Nothing of it leaves the browser.
import { cropBox, fitSquare, margin, readPicture, reduction } from "./square.js";

const MAX_BYTES = 20_000_000, MAX_PIXELS = 50_000_000; // of a picture, as the server's
const GREY = "rgb(128 128 128)"; // what a turned picture leaves uncovered

/** What a person can do about it: a headline and a sentence. */
export class SourceError extends Error {
  constructor(title, advice) {
    super(title);
    this.advice = advice;
  }
}
const OTHERS = "or use a picture, a video file or your screen";

// One canvas to read pixels from, made anew only for another size: a camera asks twenty times a second.
let scratch = null;
const scratchOf = (width, height) => {
  if (scratch?.canvas.width !== width || scratch.canvas.height !== height) {
    scratch = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  }
  scratch.resetTransform();
  return scratch;
};

// The square of a picture that a canvas can draw, turned around its centre by degrees and scaled to 32×32.
const cut = (drawable, width, height, scale, { left, top, side }, rotation) => {
  const spare = margin(side);
  const from = { x: Math.max(0, left - spare), y: Math.max(0, top - spare) };
  const wide = Math.min(width, left + side + spare) - from.x, high = Math.min(height, top + side + spare) - from.y;
  const context = scratchOf(wide, high);
  if (rotation) {
    context.fillStyle = GREY;
    context.fillRect(0, 0, wide, high);
    context.translate(left + side / 2 - from.x, top + side / 2 - from.y);
    context.rotate((rotation * Math.PI) / 180);
    context.translate(-left - side / 2, -top - side / 2);
    context.drawImage(drawable, 0, 0, width, height);
  } else {
    context.drawImage(drawable, from.x * scale, from.y * scale, wide * scale, high * scale, 0, 0, wide, high);
  }
  const { data } = context.getImageData(0, 0, wide, high);
  const box = { left: left - from.x, top: top - from.y, side };
  return fitSquare({ data, width: wide, height: high }, box, { width, height });
};

// A PNG of the square as it is, at most so many pixels a side.
const squareFile = (drawable, width, height, box, flip, most = 640) => {
  const side = Math.min(box.side, most), canvas = new OffscreenCanvas(side, side);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  if (flip) context.setTransform(-1, 0, 0, 1, side, 0);
  const k = side / box.side;
  context.drawImage(drawable, -box.left * k, -box.top * k, width * k, height * k);
  return canvas.convertToBlob({ type: "image/png" });
};

/** A picture that stands still. `picture` as from readPicture. */
export class Still {
  still = true;

  constructor(picture, name, facing) {
    const { data, width, height } = picture;
    Object.assign(this, { picture, width, height, name, facing });
    this.canvas = new OffscreenCanvas(width, height);
    this.canvas.getContext("2d").putImageData(new ImageData(data, width, height), 0, 0);
  }

  look(x, y, rotation) {
    const box = cropBox(this.width, this.height, x, y);
    return rotation ? cut(this.canvas, this.width, this.height, 1, box, rotation) : fitSquare(this.picture, box);
  }

  file(x, y, flip) {
    return squareFile(this.canvas, this.width, this.height, cropBox(this.width, this.height, x, y), flip);
  }

  stop() {}
}

/** What moves: a <video> that shows a camera, a file or the screen. */
export class Moving {
  still = false;

  constructor(video, kind, { facing = null, name = "" } = {}) {
    Object.assign(this, { video, kind, facing, name });
    this.scale = reduction(video.videoWidth, video.videoHeight);
    this.ended = () => {};
    for (const track of video.srcObject?.getTracks() ?? []) track.onended = () => this.ended();
  }

  // A telephone that is turned changes them while the camera runs.
  get width() {
    return Math.floor(this.video.videoWidth / this.scale);
  }

  get height() {
    return Math.floor(this.video.videoHeight / this.scale);
  }

  look(x, y, rotation) {
    if (this.video.readyState < 2 || !this.width) return null;
    return cut(this.video, this.width, this.height, this.scale, cropBox(this.width, this.height, x, y), rotation);
  }

  file(x, y, flip) {
    return squareFile(this.video, this.width, this.height, cropBox(this.width, this.height, x, y), flip);
  }

  /** The picture of this moment. */
  freeze() {
    const { width, height } = this;
    const canvas = new OffscreenCanvas(width, height), context = canvas.getContext("2d");
    context.drawImage(this.video, 0, 0, width, height);
    return new Still({ data: context.getImageData(0, 0, width, height).data, width, height }, this.name, this.facing);
  }

  /** Resolves when the next picture is there. */
  next() {
    return new Promise((resolve) => {
      if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(resolve);
      else requestAnimationFrame(resolve);
    });
  }

  stop() {
    for (const track of this.video.srcObject?.getTracks() ?? []) track.stop();
    this.video.pause();
    if (this.video.src) URL.revokeObjectURL(this.video.src);
    this.video.srcObject = null;
    this.video.removeAttribute("src");
    this.video.load();
  }
}

const playing = async (video) => {
  if (!video.videoWidth) {
    await new Promise((resolve, reject) => {
      video.onloadedmetadata = resolve;
      video.onerror = () => reject(new Error("not playable"));
    });
  }
  if (!video.videoWidth) throw new Error("no picture in it");
  await video.play();
};

/** The camera: "user" is the front one, "environment" the back one. */
export const openCamera = async (video, facing) => {
  if (!window.isSecureContext) {
    throw new SourceError(
      "The camera needs a secure page.",
      "Browsers give it only to pages at https:// or on this very machine (localhost). " +
        "A picture or a video file works here without.",
    );
  }
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new SourceError("This browser has no access to a camera.", "Use a picture or a video file.");
  }
  let stream;
  try {
    const size = { width: { ideal: 640 }, height: { ideal: 480 } };
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: facing, ...size }, audio: false });
  } catch (error) {
    if (error.name === "NotAllowedError" || error.name === "SecurityError") {
      throw new SourceError(
        "The camera was refused.",
        `Allow it for this page beside the browser's address bar and start it again, ${OTHERS}.`,
      );
    }
    if (error.name === "NotFoundError" || error.name === "OverconstrainedError") {
      throw new SourceError("No camera was found.", `Plug one in and start it again, ${OTHERS}.`);
    }
    throw new SourceError(
      "The camera can't be started.",
      `Another program may be using it. Close that and start it again, ${OTHERS}.`,
    );
  }
  video.srcObject = stream;
  await playing(video);
  const settings = stream.getVideoTracks()[0].getSettings();
  return new Moving(video, "camera", { facing: settings.facingMode ?? facing, name: "the camera" });
};

/** Whether there is more than one camera to choose from; known only once the visitor has allowed one. */
export const hasSeveralCameras = async () => {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.().catch(() => [])) ?? [];
  return devices.filter((device) => device.kind === "videoinput").length > 1;
};

/** The screen or a window; null where the visitor thinks better of it. */
export const openScreen = async (video) => {
  if (!navigator.mediaDevices?.getDisplayMedia) {
    throw new SourceError(
      "This browser can't share its screen here.",
      "Telephones can't, and others only at https:// or on this very machine. Use a picture or a video file.",
    );
  }
  try {
    video.srcObject = await navigator.mediaDevices.getDisplayMedia({ video: true, audio: false });
  } catch {
    return null;
  }
  await playing(video);
  return new Moving(video, "screen", { name: "the screen" });
};

/** A video file, over and over. */
export const openVideo = async (video, file) => {
  video.src = URL.createObjectURL(file);
  video.loop = true;
  try {
    await playing(video);
  } catch {
    URL.revokeObjectURL(video.src);
    video.removeAttribute("src");
    throw new SourceError(`${file.name} can't be played here.`, "Browsers play MP4 (H.264) and WebM. Try another file.");
  }
  return new Moving(video, "video", { name: file.name });
};

/** A picture file, decoded by the browser. */
export const openPicture = async (blob, name) => {
  const allowed = "PNG, JPEG, WebP, GIF, BMP or AVIF, at most 20 MB and 50 megapixels, can be opened here.";
  if (blob.size > MAX_BYTES) throw new SourceError(`${name} is too large.`, allowed);
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob);
  } catch {
    throw new SourceError(`${name} can't be opened by this browser.`, `${allowed} Classify takes more kinds.`);
  }
  try {
    if (bitmap.width * bitmap.height > MAX_PIXELS) throw new SourceError(`${name} is too large.`, allowed);
    return new Still(readPicture(bitmap, bitmap.width, bitmap.height), name);
  } finally {
    bitmap.close();
  }
};
