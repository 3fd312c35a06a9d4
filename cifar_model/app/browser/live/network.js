// The page's end of worker.js.

// The smallest modules with one instruction of SIMD, and of relaxed SIMD (as wasm-feature-detect has them).
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];

/** Whether this browser can run the network at all. */
export const canRun = () =>
  typeof WebAssembly === "object" &&
  WebAssembly.validate(Uint8Array.from(SIMD)) &&
  typeof Worker === "function" &&
  typeof DecompressionStream === "function";

/** A network that answers in a thread of its own. */
export class Network {
  /** `base`: the address of this folder; `version`: that of LiteRT.js. */
  constructor(base, version, build) {
    this.waiting = new Map();
    this.numbers = 0;
    this.worker = new Worker(`${base}worker.js`);
    this.worker.onmessage = ({ data }) => {
      if (data.number === undefined) return this.#fail(data.failed);
      const { resolve, reject } = this.waiting.get(data.number);
      this.waiting.delete(data.number);
      if (data.failed === undefined) resolve(data.result);
      else reject(new Error(data.failed));
    };
    this.worker.onerror = (event) => this.#fail(event.message || "the thread that answers could not be started");
    this.started = this.#call("start", { runtime: `${base}runtime/`, version, build });
  }

  /** Load a network from its address; resolves to what it runs on, "WebGPU" or "WebAssembly". */
  async load(url) {
    await this.started;
    return this.#call("load", { url });
  }

  /** Softmax, Float32Array (10), of the network for Uint8Array (32 · 32 · 3): rows, then columns, then RGB. */
  ask(pixels) {
    return this.#call("ask", { pixels });
  }

  close() {
    this.worker.terminate();
    this.#fail("closed");
  }

  #call(job, rest) {
    return new Promise((resolve, reject) => {
      if (this.broken) return reject(new Error(this.broken));
      const number = this.numbers++;
      this.waiting.set(number, { resolve, reject });
      this.worker.postMessage({ number, job, ...rest });
    });
  }

  #fail(message) {
    this.broken = message;
    for (const { reject } of this.waiting.values()) reject(new Error(message));
    this.waiting.clear();
  }
}
