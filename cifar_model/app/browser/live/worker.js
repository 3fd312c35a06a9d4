// The network in a thread of its own, so that the page stays smooth: LiteRT.js answers one picture at a time.
// A classic worker, because LiteRT.js loads its WebAssembly with importScripts. LiteRT.js could use several threads
// only on pages with cross-origin isolation; Streamlit doesn't send those headers, so one thread answers.
"use strict";
const KEPT = "cifar-lab-live"; // files that the browser keeps, by addresses that change with their content
const SIDE = 32, CLASSES = 10;
const SAME = 0.002; // WebGPU may round differently, but no more than this
const TRIES = 4;
let litert, network;

// A file that is fetched once: the browser's own cache would ask the server each time.
const fetchOnce = async (url) => {
  const keeper = self.caches ? await caches.open(KEPT).catch(() => null) : null; // none on plain http
  const known = await keeper?.match(url);
  if (known) return known;
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url.split("/").pop()} could not be fetched (${response.status}).`);
  await keeper?.put(url, response.clone()).catch(() => {}); // a full disk is no reason to stop
  return response;
};

// What a newer file has replaced is not kept for ever.
const forgetOld = async (pattern, most) => {
  const keeper = self.caches ? await caches.open(KEPT).catch(() => null) : null;
  const old = ((await keeper?.keys()) ?? []).filter((request) => pattern.test(request.url));
  for (const request of old.slice(0, Math.max(0, old.length - most))) await keeper.delete(request);
};

const start = async ({ runtime, version, build }) => {
  const packed = await fetchOnce(`${runtime}${build}.wasm.gz?${version}`);
  const code = packed.body.pipeThrough(new DecompressionStream("gzip"));
  const response = new Response(code, { headers: { "Content-Type": "application/wasm" } });
  self.Module = {
    print: () => {}, // what it says of itself at each start
    printErr: () => {},
    instantiateWasm: (imports, receive) => {
      WebAssembly.instantiateStreaming(response, imports)
        .then(({ instance, module }) => receive(instance, module))
        .catch((error) => self.postMessage({ failed: String(error) }));
      return {};
    },
  };
  litert = await import(`${runtime}litert.js?${version}`);
  await litert.loadLiteRt(`${runtime}${build}.js?${version}#.js`); // its name must end so, or it takes it for a folder
  forgetOld(/\.wasm\.gz\?/, 1);
};

// Which output holds the ten probabilities: the network names them first, before its features.
const answers = (compiled) => {
  const names = compiled.getOutputDetails().map(({ name }) => name);
  return names.indexOf([...names].sort()[0]);
};

const ask = async (compiled, pixels) => {
  const input = new litert.Tensor(Float32Array.from(pixels), [1, SIDE, SIDE, 3]);
  try {
    const outputs = await compiled.run([input]);
    try {
      return Float32Array.from(await outputs[answers(compiled)].data());
    } finally {
      for (const output of outputs) output.delete();
    }
  } finally {
    input.delete();
  }
};

// Answers to some made-up pictures, and the milliseconds that one takes once warm.
const probe = async (compiled) => {
  const answers = [];
  let best = Infinity;
  for (let i = 0; i < TRIES; i++) {
    const pixels = Uint8Array.from({ length: SIDE * SIDE * 3 }, (_, k) => (k * (31 + 12 * i) + ((k * k) >> 7)) & 255);
    const before = performance.now();
    answers.push(...(await ask(compiled, pixels)));
    if (i) best = Math.min(best, performance.now() - before);
  }
  return { answers, best };
};

const load = async ({ url }) => {
  const model = new Uint8Array(await (await fetchOnce(url)).arrayBuffer());
  const plain = await litert.loadAndCompile(model, { accelerator: "wasm" });
  let chosen = plain, accelerator = "WebAssembly";
  const expected = await probe(plain);
  if (expected.answers.length !== CLASSES * TRIES) throw new Error("The file holds another kind of network.");
  if (litert.getDefaultEnvironment().webGpuDevice) {
    try {
      const fast = await litert.loadAndCompile(model, { accelerator: "webgpu", gpuOptions: { precision: "fp32" } });
      const found = await probe(fast);
      const same = found.answers.every((p, i) => Math.abs(p - expected.answers[i]) <= SAME);
      if (same && found.best < expected.best) [chosen, accelerator] = [fast, "WebGPU"];
      (chosen === fast ? plain : fast).delete();
    } catch {
      // A GPU that can't: the answers come all the same.
    }
  }
  network?.delete();
  network = chosen;
  forgetOld(/\.tflite$/, 6);
  return accelerator;
};

const jobs = { start, load, ask: ({ pixels }) => ask(network, pixels) };
let last = Promise.resolve(); // one job after the other
self.onmessage = ({ data: { number, job, ...rest } }) => {
  last = last.then(async () => {
    try {
      self.postMessage({ number, result: await jobs[job](rest) });
    } catch (error) {
      self.postMessage({ number, failed: error?.message ?? String(error) });
    }
  });
};
