// What computes beside the page: ONNX Runtime on one thread, a session for each drop ratio, all on the same weights.

import { channelsFirst, pixelsOf } from "./pixels.mjs";

const ROOM = 1 << 28; // bytes of weights that sessions may hold together; the longest unused one goes first
const sessions = new Map();
let ort, facts, weights, pixels;

/** The bytes of a file of this folder; `tell` hears how many have come. */
async function fetched(name, tell = () => {}) {
  const answer = await fetch(new URL(name, import.meta.url));
  if (!answer.ok) throw new Error(`${name} is missing: the server answers ${answer.status}`);
  const parts = [], reader = answer.body.getReader();
  let size = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    parts.push(part.value);
    tell(size += part.value.length);
  }
  const whole = new Uint8Array(size);
  for (let at = 0, index = 0; index < parts.length; at += parts[index++].length) whole.set(parts[index], at);
  return whole;
}

const say = text => postMessage({ said: text });
const mebibytes = size => `${(size / 2 ** 20).toFixed(1)} MiB`;

async function start(given) {
  facts = given;
  if (typeof WebAssembly !== "object") throw new Error("this browser has no WebAssembly, or it is switched off");
  ort = await import("./ort.wasm.bundle.min.mjs");
  const program = await fetched("ort-wasm-simd-threaded.wasm", size => say(`Reading ONNX Runtime: ${mebibytes(size)}`));
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = program.buffer;
  ort.env.logLevel = "error";
  weights = await fetched(facts.weights, size => say(`Reading the weights: ${mebibytes(size)} of ${mebibytes(facts.bytes)}`));
  if (weights.length !== facts.bytes) throw new Error(`${facts.weights} has ${weights.length} bytes, not ${facts.bytes}`);
  await sessionAt(facts.start);
}

/** The session of a drop ratio, and the one used last. */
async function sessionAt(ratio) {
  let session = sessions.get(ratio);
  sessions.delete(ratio);
  for (const [other, held] of sessions) {
    if ((sessions.size + 1) * weights.length <= ROOM) break;
    sessions.delete(other);
    await held.release();
  }
  if (!session) {
    const graph = await fetched(facts.graphs.find(one => one.ratio === ratio).file);
    const externalData = [{ path: facts.weights, data: weights }];
    session = await ort.InferenceSession.create(graph, { executionProviders: ["wasm"], externalData });
  }
  sessions.set(ratio, session);
  return session;
}

/** Logits, the patches that each stage keeps, and the milliseconds of one run. */
async function answer({ id, ratio, bitmap, orientation }) {
  if (bitmap) {
    pixels = pixelsOf(bitmap, facts, orientation);
    bitmap.close();
  }
  const session = await sessionAt(ratio), [height, width] = facts.image_size;
  const images = new ort.Tensor("uint8", channelsFirst(pixels, facts.channels), [1, facts.channels, height, width]);
  const before = performance.now(), found = await session.run({ images });
  const milliseconds = performance.now() - before;
  const kept = Object.keys(facts.graphs.find(one => one.ratio === ratio).kept)
    .map(block => Array.from(found[`kept_ids_${block}`].data, Number));
  postMessage({ id, ratio, milliseconds, logits: Array.from(found.logits.data), kept, pixels: bitmap ? pixels : null });
}

let last = Promise.resolve();
onmessage = ({ data }) => {
  last = last.then(async () => {
    try {
      await (data.facts ? start(data.facts) : answer(data));
      if (data.facts) postMessage({ ready: true });
    } catch (error) {
      postMessage({ id: data.id, fault: String(error?.message ?? error), starting: Boolean(data.facts) });
    }
  });
};
