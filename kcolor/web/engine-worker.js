/**
 * The network, run by LiteRT.js away from the page. A classic worker, since LiteRT.js loads its parts by importScripts.
 *
 * @import { CompiledModel, Accelerator } from "@litertjs/core"
 * @import { Tell } from "./answer.js"
 * @import { Outputs } from "./join.js"
 */

importScripts("runtime/litert.js");

/** @type {typeof import("@litertjs/core")} What the script above makes. */
const litert = /** @type {any} */ (self).LiteRT;

/** @type {CompiledModel} */
let model;

/**
 * @param {{ model: string, size: number, only: string | null }} given The URL, the side of what the network takes, and
 *     the one accelerator that is wanted; null: the best there is.
 * @param {Tell} tell
 * @returns {Promise<string>} What the network runs on.
 */
async function start({ model: url, size, only }, tell) {
  const threads = self.crossOriginIsolated && (await litert.supportsFeature("relaxedSimd"));
  const folder = new URL("runtime/wasm/", self.location.href).href;
  // What is loaded into a worker does not know where it is from.
  Object.assign(self, {
    Module: {
      locateFile: (/** @type {string} */ name) => folder + name,
      mainScriptUrlOrBlob: `${folder}litert_wasm_threaded_internal.js`,
      // It tells much, and of networks that WebGPU cannot run, errors that are none.
      print: console.debug,
      printErr: console.debug,
    },
  });
  await litert.loadLiteRt(folder, { threads });
  const bytes = await fetched(url, tell);
  for (const accelerator of await accelerators(only)) {
    try {
      model = await litert.loadAndCompile(bytes, { accelerator, gpuOptions: { precision: "fp32" } });
      const { ab } = await run({ l: new Float32Array(size * size), size });
      if (!ab.every(Number.isFinite)) throw new Error("the network gives NaN");
      return accelerator;
    } catch (error) {
      if (accelerator === "wasm" || only) throw error;
    }
  }
  throw new Error("nothing to run the network on");
}

/**
 * @param {{ l: Float32Array, size: number }} given
 * @returns {Promise<Outputs>}
 */
async function run({ l, size }) {
  const input = new litert.Tensor(l, [1, size, size, 1]);
  const outputs = await model.run({ [model.getInputDetails()[0].name]: input });
  input.delete();
  /** @type {Record<string, Float32Array>} */
  const read = {};
  for (const [name, tensor] of Object.entries(outputs)) {
    const here = await tensor.moveTo("wasm");
    read[name] = Float32Array.from(here.toTypedArray());
    here.delete();
  }
  return { ab: read.ab, logits: read.logits ?? null };
}

/** @param {string | null} only @returns {Promise<Accelerator[]>} The best first. */
async function accelerators(only) {
  if (only === "webgpu" || only === "wasm") return [only];
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  // A graphics processor that is only imitated is slower than WASM.
  return adapter && !adapter.info?.isFallbackAdapter ? ["webgpu", "wasm"] : ["wasm"];
}

/** @param {string} url @param {Tell} tell */
async function fetched(url, tell) {
  const response = await fetch(url);
  if (!response.ok || !response.body) throw new Error(`the model cannot be fetched (${response.status})`);
  const total = Number(response.headers.get("content-length"));
  const parts = [];
  let length = 0;
  const reader = response.body.getReader();
  for (let { done, value } = await reader.read(); !done && value; { done, value } = await reader.read()) {
    parts.push(value);
    length += value.length;
    if (total) tell(Math.min(length / total, 1));
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

self.onmessage = async ({ data }) => {
  const { answer } = await import("./answer.js");
  await answer(data, { start, run }, (message) => self.postMessage(message));
};
