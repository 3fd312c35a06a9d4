// Live: pictures from a source, through mix and distortion, to the network and onto the screen; nothing to the server.
import { PLAIN, distort } from "./distort.js";
import { mix } from "./mix.js";
import { Network, canRun } from "./network.js";
import {
  SourceError, hasSeveralCameras, openCamera, openPicture, openScreen, openVideo,
} from "./sources.js";
import { SIDE, cropBox, mirrored } from "./square.js";
import { Smoother, answerSet, calibrate, isOutside, setInWords } from "./trust.js";
import { Tipping } from "./tipping.js";

const BUILD = "litert_wasm_compat_internal";
const TO_SAY = 2000; // milliseconds between two answers that a screen reader is told
const SHOWN_AS = {
  brightness: (v) => `${Math.round(100 * v)} %`,
  contrast: (v) => `${Math.round(100 * v)} %`,
  blur: (v) => (v ? `${v.toFixed(1)} pixels` : "none"),
  rotation: (v) => `${v}°`,
  patch: (v) => (v ? `${v} × ${v} pixels` : "none"),
};
const TIPS = {
  blend: "Hold something up: it is mixed with the other picture before the network sees it.",
  fool: "Where does the answer tip? Drag the grey patch over the small picture. When the picture stands still, each " +
    "slider's strip shows what the network would say along it.",
  show: "Smoothed answers are easier to read. What an answer set promises holds for answers to single pictures.",
};

/** Bring a mounted component to life. `tools`: element, makeBars, percent of base.js; home: the app's address. */
export const start = (root, tools) => new Page(root, tools);

class Page {
  constructor(root, { element, makeBars, percent, home }) {
    Object.assign(this, { root, element, makeBars, percent, home });
    this.find = (selector) => root.querySelector(selector);
    this.video = this.find("video");
    this.still = this.find(".still");
    this.seen = this.find(".seen").getContext("2d");
    this.state = { x: 0.5, y: 0.5, mirror: false, partner: null, ratio: 60, way: "average", smoothing: 0, raw: false };
    this.distortion = { ...PLAIN };
    this.smoother = new Smoother();
    this.times = [];
    this.saidAt = 0;
    this.opening = 0;
    this.#wire();
  }

  /** What the server tells: the model, the samples, the classes. */
  update(data, send) {
    const first = !this.data;
    this.data = data;
    this.send = send;
    this.stopped = false;
    this.#listen();
    if (first) this.#build();
    if (this.modelUrl !== (data.model?.url ?? null)) this.#load();
    this.find(".unknown").textContent = data.model?.note ?? "";
    this.find(".strange").hidden = !data.model?.scope;
    this.find(".verdict").hidden = !data.model?.sets;
    this.dirty = true;
    this.#wake();
    if (!this.running) this.#run();
  }

  /** The page is left: the camera's light goes out, and the thread ends. */
  stop() {
    this.stopped = true;
    this.listening?.abort();
    this.#close();
    this.network?.close();
    this.network = this.ready = null;
    this.modelUrl = undefined;
    this.#wake();
  }

  // ---- what is seen, and what comes of it

  async #run() {
    this.running = true;
    let before = -1;
    while (!this.stopped && this.root.isConnected) {
      const { source } = this;
      const moving = source && !source.still;
      if (!source || document.hidden || (!moving && !this.dirty)) {
        await this.#sleep();
        continue;
      }
      if (moving && source.video.currentTime === before) await Promise.race([source.next(), this.#sleep(500)]);
      if (source !== this.source) continue; // it was frozen, or changed, meanwhile
      before = moving ? source.video.currentTime : -1;
      const started = performance.now();
      this.dirty = false;
      const pixels = this.look();
      if (!pixels) {
        await this.#sleep(50);
        continue;
      }
      this.#draw(pixels);
      const { network, ready } = this;
      if (!ready) {
        await this.#sleep(moving ? 30 : undefined);
        continue;
      }
      try {
        const raw = await network.ask(pixels);
        if (network !== this.network || source !== this.source) continue;
        this.times.push(performance.now());
        this.#show(raw, pixels, performance.now() - started);
      } catch (error) {
        if (network === this.network) this.#complain("The network stopped.", `Reload the page. (${error.message})`);
        this.ready = false;
      }
      if (!moving && !this.dirty) this.tipping.follow();
    }
    this.running = false;
    if (!this.stopped) this.stop(); // the page was taken away without a word
  }

  /** What the network is to see at these settings: Uint8Array (32 · 32 · 3), or null as long as there is none. */
  look(distortion = this.distortion, ratio = this.state.ratio) {
    const { x, y, mirror, partner, way } = this.state;
    let pixels = this.source?.look(x, y, distortion.rotation);
    if (!pixels) return null;
    if (mirror) pixels = mirrored(pixels);
    if (partner) pixels = mix(pixels, partner.pixels, ratio / 100, way);
    return distort(pixels, distortion);
  }

  /** From the network's softmax to what the card makes of it. */
  read(raw) {
    const { model } = this.data;
    const calibrated = calibrate(raw, model.calibration);
    const members = model.sets ? answerSet(calibrated, model.sets, this.state.level) : null;
    return { raw: [...raw], calibrated, members, outside: isOutside(raw, model.scope) };
  }

  #draw(pixels) {
    const frame = new ImageData(SIDE, SIDE);
    for (let i = 0, k = 0; i < frame.data.length; i += 4, k += 3) {
      frame.data[i] = pixels[k];
      frame.data[i + 1] = pixels[k + 1];
      frame.data[i + 2] = pixels[k + 2];
      frame.data[i + 3] = 255;
    }
    this.seen.putImageData(frame, 0, 0);
    this.#place();
  }

  #show(latest, pixels, milliseconds) {
    const seconds = this.source.still ? 0 : this.state.smoothing;
    const found = this.read(this.smoother.add(latest, seconds));
    const shown = this.state.raw ? found.raw : found.calibrated;
    const names = this.data.classes.map(([name]) => name);
    const best = this.bars.set(shown, found.outside);
    const [name, color] = this.data.classes[best];
    const text = `${name} · ${this.percent(shown[best])}`;
    this.find(".winner .dot").style.background = color;
    this.find(".winner .what").textContent = text;
    this.find(".winner").classList.toggle("unsure", Boolean(found.outside));
    const set = found.members ? `Set: ${setInWords(found.members, names, this.state.level)}` : "";
    this.find(".verdict").textContent = this.find(".verdict").title = set;
    this.find(".strange").textContent = found.outside ? this.data.strange : "";
    const now = performance.now();
    this.times = this.times.filter((time) => now - time < 1000);
    const rate = this.source.still ? `${Math.round(milliseconds)} ms` : `${this.times.length} a second`;
    this.find(".rate").textContent = `${rate} · ${this.accelerator}`;
    this.find(".rate").hidden = false;
    if (now - this.saidAt > TO_SAY && this.said !== name + found.outside) {
      this.saidAt = now;
      this.said = name + found.outside;
      this.find(".said").textContent = found.outside ? this.data.strange : `${text}. ${set}`;
    }
    this.shown = { ...found, latest: [...latest], pixels, source: this.source.name };
  }

  async #load() {
    const { model, version, files } = this.data;
    this.modelUrl = model?.url ?? null;
    this.ready = false;
    this.smoother.forget();
    if (!canRun()) {
      this.#complain(
        "This browser can't run the network itself.",
        "It lacks WebAssembly SIMD, which Chrome and Edge 91, Firefox 114 and Safari 16.4 or newer have. Update it, " +
          "or let the server answer: Classify takes pictures from the camera, too.",
      );
      return;
    }
    if (!this.modelUrl) return this.#say(model ? "The network is being prepared …" : "");
    this.#say("The network is being loaded …");
    const wanted = this.modelUrl;
    this.network ??= new Network(`${this.home}${files}`, version, BUILD);
    try {
      const accelerator = await this.network.load(`${this.home}${wanted}`);
      if (wanted !== this.modelUrl) return;
      Object.assign(this, { accelerator, ready: true, dirty: true });
      this.root.dataset.ready = model.name;
      this.#say("");
      this.tipping.forget();
      this.#wake();
    } catch (error) {
      if (wanted !== this.modelUrl) return;
      this.network.close();
      this.network = null;
      this.modelUrl = undefined;
      this.#complain("The network could not be loaded.", `Reload the page to try again. (${error.message})`);
    }
  }

  // ---- where pictures come from

  async #open(kind, make) {
    const mine = ++this.opening;
    this.#close();
    this.find(".message").hidden = true;
    try {
      const source = await make();
      if (mine !== this.opening || this.stopped) return source?.stop();
      if (source) this.#take(source);
    } catch (error) {
      if (mine !== this.opening) return;
      if (!(error instanceof SourceError)) console.error(error);
      this.#complain(error.message, error.advice ?? "Try another file.");
    }
    this.#mark(kind);
  }

  #take(source) {
    this.source = source;
    this.state.x = this.state.y = 0.5;
    // A front camera shows people themselves: as in a looking-glass.
    this.state.mirror = source.kind === "camera" && source.facing !== "environment";
    source.ended = () => {
      this.#close();
      this.#mark(source.kind);
    };
    this.video.hidden = source.still;
    this.still.hidden = !source.still;
    if (source.still) this.#paint(source);
    this.smoother.forget();
    this.times = [];
    this.dirty = true;
    this.#wake();
    if (source.kind === "camera") {
      hasSeveralCameras().then((several) => (this.find(".turn").hidden = !several || this.source !== source));
    }
  }

  #paint(still) {
    this.still.width = still.width;
    this.still.height = still.height;
    this.still.getContext("2d").drawImage(still.canvas, 0, 0);
  }

  #close() {
    this.source?.stop();
    this.live?.stop();
    this.source = this.live = null;
    this.video.hidden = this.still.hidden = true;
    this.find(".rate").hidden = true;
  }

  #freeze() {
    if (this.live) {
      [this.source, this.live] = [this.live, null];
      this.video.play();
    } else {
      this.live = this.source;
      this.source = this.live.freeze();
      this.source.kind = this.live.kind;
      this.video.pause();
      this.#paint(this.source);
    }
    this.video.hidden = this.source.still;
    this.still.hidden = !this.source.still;
    this.smoother.forget();
    this.times = [];
    this.dirty = true;
    this.#mark(this.kind);
    this.#wake();
  }

  // Which buttons are pressed, and which can be.
  #mark(kind) {
    this.kind = kind;
    for (const button of this.root.querySelectorAll("[data-source]")) {
      button.setAttribute("aria-pressed", String(button.dataset.source === kind));
    }
    const { source } = this, moving = source && (!source.still || this.live);
    this.find(".samples").hidden = kind !== "picture";
    this.find(".begin").textContent = {
      camera: "Start the camera", picture: "Choose a picture", video: "Choose a video file", screen: "Share the screen",
    }[kind];
    this.find(".invitation").hidden = Boolean(source);
    this.find(".window").hidden = !source;
    this.find(".freeze").disabled = !moving;
    this.find(".freeze").setAttribute("aria-pressed", String(Boolean(this.live)));
    this.find(".mirror").disabled = this.find(".along .open").disabled = !source;
    this.find(".mirror").setAttribute("aria-pressed", String(this.state.mirror));
    this.find(".turn").hidden ||= kind !== "camera" || !source;
    this.root.classList.toggle("mirrored", this.state.mirror);
    if (!source) this.find(".along .menu").hidden = true;
    this.#place();
  }

  #begin(kind) {
    if (kind === "camera") return this.#open(kind, () => openCamera(this.video, this.facing ?? "user"));
    if (kind === "screen") return this.#open(kind, () => openScreen(this.video));
    this.find(`.${kind}-file`).click();
  }

  // ---- the square, the patch

  #place() {
    const { source } = this;
    if (!source?.width) return;
    const { left, top, side } = cropBox(source.width, source.height, this.state.x, this.state.y);
    const box = this.find(".window"), from = this.state.mirror ? source.width - left - side : left;
    const now = [from / source.width, top / source.height, side / source.width, side / source.height].join();
    if (now === this.placed) return;
    this.placed = now;
    const [x, y, wide, high] = now.split(",").map((share) => `${100 * share}%`);
    Object.assign(box.style, { left: x, top: y, width: wide, height: high });
    const stage = this.find(".stage");
    stage.style.aspectRatio = `${source.width} / ${source.height}`;
    stage.style.setProperty("--shape", source.width / source.height);
    const at = source.width > source.height ? this.state.x : this.state.y;
    box.setAttribute("aria-valuenow", String(Math.round(100 * at)));
  }

  #move(dx, dy) {
    const { source, state } = this;
    if (!source) return;
    const roomX = source.width - Math.min(source.width, source.height);
    const roomY = source.height - Math.min(source.width, source.height);
    const within = (value) => Math.min(1, Math.max(0, value));
    if (roomX) state.x = within(state.x + ((state.mirror ? -dx : dx) * source.width) / roomX);
    if (roomY) state.y = within(state.y + (dy * source.height) / roomY);
    this.#changed();
  }

  #changed() {
    this.dirty = true;
    this.smoother.forget();
    this.tipping?.forget();
    this.#labels();
    this.#place();
    this.#wake();
  }

  // ---- what the visitor touches

  #wire() {
    const { find, root, state } = this;
    for (const button of root.querySelectorAll("[data-source]")) {
      button.onclick = () => {
        const kind = button.dataset.source;
        if (kind === "picture") {
          ++this.opening;
          this.#close();
          find(".message").hidden = true;
          this.#mark(kind);
        } else this.#begin(kind);
      };
    }
    find(".begin").onclick = () => this.#begin(this.kind);
    const chosen = (selector, use) => {
      find(selector).onchange = ({ target }) => {
        const [file] = target.files;
        target.value = ""; // the same file may be chosen again
        if (file) use(file);
      };
    };
    chosen(".picture-file", (file) => this.#open("picture", () => openPicture(file, file.name)));
    chosen(".video-file", (file) => this.#open("video", () => openVideo(this.video, file)));
    chosen(".partner-file", async (file) => {
      try {
        const own = await openPicture(file, file.name);
        this.#mixWith({ name: file.name, pixels: own.look(0.5, 0.5, 0) });
      } catch (error) {
        this.#complain(error.message, error.advice ?? "Try another file.");
      }
    });
    find(".freeze").onclick = () => this.#freeze();
    find(".mirror").onclick = () => {
      state.mirror = !state.mirror;
      this.#mark(this.kind);
      this.#changed();
    };
    find(".turn").onclick = () => {
      this.facing = this.source?.facing === "environment" ? "user" : "environment";
      this.#begin("camera");
    };
    const menu = find(".along .menu"), opener = find(".along .open");
    const open = (yes) => {
      menu.hidden = !yes;
      opener.setAttribute("aria-expanded", String(yes));
    };
    opener.onclick = () => open(menu.hidden);
    find(".along").onkeydown = (event) => {
      if (event.key === "Escape") open(false);
    };
    for (const button of menu.querySelectorAll("button")) {
      button.onclick = async () => {
        open(false);
        this.send({ to: button.dataset.to, picture: await this.#picture() });
      };
    }
    for (const tab of root.querySelectorAll(".tabs [data-panel]")) {
      tab.onclick = () => this.#panel(tab.getAttribute("aria-expanded") === "true" ? null : tab.dataset.panel);
    }
    for (const input of root.querySelectorAll("[data-setting]")) {
      input.value = this.distortion[input.dataset.setting];
      input.oninput = () => {
        this.distortion[input.dataset.setting] = Number(input.value);
        this.#changed();
      };
    }
    find(".ratio").oninput = ({ target }) => {
      state.ratio = Number(target.value);
      this.#changed();
    };
    find(".way").onchange = ({ target }) => {
      state.way = target.value;
      this.#changed();
    };
    find(".smoothing").onchange = ({ target }) => {
      state.smoothing = Number(target.value);
      this.#changed();
    };
    find(".level").onchange = ({ target }) => {
      state.level = Number(target.value);
      this.#changed();
    };
    find(".percentages").onchange = ({ target }) => {
      state.raw = target.value === "raw";
      this.#changed();
    };
    find(".reset").onclick = () => {
      this.distortion = { ...PLAIN };
      for (const input of root.querySelectorAll("[data-setting]")) input.value = PLAIN[input.dataset.setting];
      this.#mixWith(null);
    };
    this.#wireSquare(find(".stage"), find(".window"));
    this.#wirePatch(find(".seen"));
  }

  // What only the whole document tells, for as long as the page is shown.
  #listen() {
    if (this.listening && !this.listening.signal.aborted) return;
    this.listening = new AbortController();
    const { signal } = this.listening;
    document.addEventListener("visibilitychange", () => this.#wake(), { signal });
    addEventListener("pagehide", () => this.stop(), { signal });
  }

  #wireSquare(stage, box) {
    let last = null;
    box.onpointerdown = (event) => {
      event.preventDefault();
      box.focus();
      box.setPointerCapture(event.pointerId);
      last = event;
    };
    box.onpointermove = (event) => {
      if (!last) return;
      const bounds = stage.getBoundingClientRect();
      this.#move((event.clientX - last.clientX) / bounds.width, (event.clientY - last.clientY) / bounds.height);
      last = event;
    };
    box.onpointerup = box.onpointercancel = () => (last = null);
    box.onkeydown = (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!step) return;
      event.preventDefault();
      this.#move(0.02 * step[0], 0.02 * step[1]);
    };
  }

  #wirePatch(canvas) {
    let dragging = false;
    const to = (event) => {
      const bounds = canvas.getBoundingClientRect();
      this.distortion.x = Math.min(1, Math.max(0, (event.clientX - bounds.left) / bounds.width));
      this.distortion.y = Math.min(1, Math.max(0, (event.clientY - bounds.top) / bounds.height));
      this.#changed();
    };
    canvas.onpointerdown = (event) => {
      if (!this.distortion.patch) return;
      event.preventDefault();
      canvas.setPointerCapture(event.pointerId);
      dragging = true;
      to(event);
    };
    canvas.onpointermove = (event) => dragging && to(event);
    canvas.onpointerup = canvas.onpointercancel = () => (dragging = false);
    canvas.onkeydown = (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!step || !this.distortion.patch) return;
      event.preventDefault();
      const within = (value) => Math.min(1, Math.max(0, value));
      this.distortion.x = within(this.distortion.x + step[0] / SIDE);
      this.distortion.y = within(this.distortion.y + step[1] / SIDE);
      this.#changed();
    };
  }

  #panel(name) {
    for (const tab of this.root.querySelectorAll(".tabs [data-panel]")) {
      tab.setAttribute("aria-expanded", String(tab.dataset.panel === name));
    }
    for (const panel of this.root.querySelectorAll(".panel")) panel.hidden = panel.dataset.panel !== name;
    this.root.classList.toggle("opened", Boolean(name));
    this.tipping.open(name);
  }

  #mixWith(partner) {
    this.state.partner = partner;
    for (const tile of this.root.querySelectorAll(".partners button")) {
      const own = partner && !(partner.name in this.data.samples);
      tile.setAttribute("aria-pressed", String(tile.dataset.name === (own ? "own" : (partner?.name ?? "none"))));
    }
    this.find(".ratio").disabled = !partner;
    this.#changed();
  }

  // What the network sees where it was changed; the square of the picture as it came where it wasn't.
  async #picture() {
    const { x, y, mirror, partner } = this.state;
    const changed = partner || Object.keys(PLAIN).some((key) => !"xy".includes(key) && this.distortion[key] !== PLAIN[key]);
    const blob = changed
      ? await new Promise((resolve) => this.find(".seen").toBlob(resolve, "image/png"))
      : await this.source.file(x, y, mirror);
    return new Promise((resolve) => {
      const reader = new FileReader();
      reader.onload = () => resolve(reader.result);
      reader.readAsDataURL(blob);
    });
  }

  // ---- what is there from the start

  #build() {
    const { find, element, data } = this;
    this.bars = this.makeBars(data.classes);
    find(".places").replaceChildren(this.bars.list);
    this.bars.list.classList.add("moving");
    this.bars.list.setAttribute("aria-label", "Probabilities of the ten classes");
    find(".winner").replaceChildren(element("span", "dot"), element("span", "what", ""));
    const tile = (name, label, pixels) => {
      const button = element("button", "tile");
      button.type = "button";
      button.dataset.name = name;
      button.title = label;
      button.setAttribute("aria-label", label);
      if (!pixels) {
        button.append(element("span", "", label));
        return button;
      }
      const canvas = element("canvas", "pixels");
      canvas.width = canvas.height = SIDE;
      const frame = new ImageData(SIDE, SIDE);
      for (let i = 0; i < SIDE * SIDE; i++) frame.data.set([...pixels.subarray(3 * i, 3 * i + 3), 255], 4 * i);
      canvas.getContext("2d").putImageData(frame, 0, 0);
      button.append(canvas);
      button.style.setProperty("--color", Object.fromEntries(data.classes)[name]);
      return button;
    };
    const samples = Object.entries(data.samples).map(([name, { pixels, file }]) => ({
      name, file, pixels: Uint8Array.from(atob(pixels), (character) => character.charCodeAt(0)),
    }));
    find(".samples").replaceChildren(...samples.map(({ name, file, pixels }) => {
      const button = tile(name, name, pixels);
      button.onclick = () =>
        this.#open("picture", async () => openPicture(await (await fetch(`${this.home}${file}`)).blob(), name));
      return button;
    }));
    const none = tile("none", "nothing"), own = tile("own", "your own");
    none.onclick = () => this.#mixWith(null);
    own.onclick = () => find(".partner-file").click();
    find(".partners").replaceChildren(none, ...samples.map(({ name, pixels }) => {
      const button = tile(name, name, pixels);
      button.onclick = () => this.#mixWith({ name, pixels });
      return button;
    }), own);
    const option = (value, text) => {
      const made = element("option", "", text);
      made.value = value;
      return made;
    };
    find(".way").replaceChildren(...data.ways.map(([way, title]) => option(way, title)));
    find(".level").replaceChildren(...data.levels.map((level) => option(level, `${level} %`)));
    this.state.level = data.level;
    this.state.raw = data.raw;
    find(".level").value = data.level;
    find(".percentages").value = data.raw ? "raw" : "calibrated";
    this.tipping = new Tipping(this);
    this.#mixWith(null);
    this.#mark("camera");
  }

  #labels() {
    if (!this.data) return;
    const { partner, ratio, way } = this.state;
    const name = partner && (partner.name.length > 24 ? `${partner.name.slice(0, 11)}…${partner.name.slice(-12)}` : partner.name);
    this.find(".recipe").textContent = partner ? `${ratio} % your picture + ${100 - ratio} % ${name}` : "Mixed with nothing";
    for (const input of this.root.querySelectorAll("[data-setting]")) {
      input.previousElementSibling.textContent = SHOWN_AS[input.dataset.setting](Number(input.value));
    }
    for (const panel of this.root.querySelectorAll(".panel")) {
      const about = panel.dataset.panel === "blend" ? this.data.ways.find(([key]) => key === way)[2] : "";
      panel.querySelector(".explained").textContent = [TIPS[panel.dataset.panel], about].filter(Boolean).join(" ");
    }
    this.find(".seen").tabIndex = this.distortion.patch ? 0 : -1;
    this.root.classList.toggle("patched", this.distortion.patch > 0);
    const plain = Object.keys(PLAIN).every((key) => "xy".includes(key) || this.distortion[key] === PLAIN[key]);
    this.find(".reset").hidden = plain && !partner;
  }

  #say(text) {
    const what = this.find(".winner .what");
    if (what) what.textContent = text;
  }

  #complain(title, advice) {
    this.find(".message strong").textContent = title;
    this.find(".message span").textContent = advice;
    this.find(".message").hidden = false;
  }

  // Nothing to do until something changes, or at most so many milliseconds.
  #sleep(milliseconds) {
    return new Promise((resolve) => {
      const timer = milliseconds && setTimeout(resolve, milliseconds);
      this.waker = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #wake() {
    this.waker?.();
  }
}
