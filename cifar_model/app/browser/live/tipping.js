// Where the answer tips: while the picture stands still, each open slider is tried along its whole way, and a strip
// below it shows in the classes' colours what the network would say.
const STEPS = 33;
const PATIENCE = 400; // milliseconds that nothing must have changed

export class Tipping {
  constructor(page) {
    this.page = page;
    this.round = 0;
    this.strips = new Map();
    for (const input of page.root.querySelectorAll("[data-setting], .ratio")) {
      const strip = page.element("canvas", "tips");
      strip.width = STEPS;
      strip.height = 1;
      strip.setAttribute("aria-hidden", "true");
      strip.style.visibility = "hidden"; // its room stays, so that nothing jumps
      input.after(strip);
      this.strips.set(input, strip);
    }
  }

  /** The panel that is open, or null. */
  open(name) {
    this.panel = name;
    this.forget();
    this.follow();
  }

  /** What was found holds no longer. */
  forget() {
    this.round++;
    clearTimeout(this.timer);
    for (const strip of this.strips.values()) strip.style.visibility = "hidden";
  }

  /** The picture stands still and has been answered: try the sliders, unless something changes. */
  follow() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#try(this.round), PATIENCE);
  }

  async #try(round) {
    const { page } = this;
    const good = () => round === this.round && page.ready && page.source?.still && !page.stopped && !document.hidden;
    for (const [input, strip] of this.strips) {
      if (!good()) return;
      if (input.closest(".panel").dataset.panel !== this.panel || input.disabled) continue;
      const low = Number(input.min), high = Number(input.max);
      const context = strip.getContext("2d");
      context.clearRect(0, 0, STEPS, 1);
      strip.style.visibility = "visible";
      for (let step = 0; step < STEPS; step++) {
        const value = low + ((high - low) * step) / (STEPS - 1);
        const { setting } = input.dataset;
        const changed = { ...page.distortion, ...(setting ? { [setting]: setting === "patch" ? Math.round(value) : value } : {}) };
        const pixels = page.look(changed, setting ? undefined : value);
        if (!pixels) return;
        let raw;
        try {
          raw = await page.network.ask(pixels);
        } catch {
          return;
        }
        if (!good()) return;
        context.fillStyle = page.data.classes[raw.indexOf(Math.max(...raw))][1];
        context.fillRect(step, 0, 1, 1);
      }
    }
  }
}
