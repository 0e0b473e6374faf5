/**
 * What runs the network: this browser, or, where it cannot, the server that the page is from.
 *
 * @import { Outputs } from "./join.js"
 */

import { asking } from "./ask.js";

/**
 * @typedef {object} Config What is beside the page as config.json; docs/deploy-web.md tells of each.
 * @property {string} name
 * @property {number} size
 * @property {"browser" | "server"} engine
 * @property {string} [model]
 * @property {string} [predict]
 * @property {string[]} [classes]
 * @property {string} [note]
 * @property {string} [version]
 * @property {string} [kcolor]
 */

/**
 * @typedef {object} Engine
 * @property {"browser" | "server"} kind
 * @property {string} on What the network runs on, for people.
 * @property {(l: Float32Array) => Promise<Outputs>} run
 */

/**
 * @param {Config} config
 * @param {(progress: number) => void} onProgress
 * @returns {Promise<Engine>}
 * @throws {Error} There is none.
 */
export async function started(config, onProgress) {
  if (config.engine === "browser" && config.model) {
    try {
      return await browser(config, config.model, onProgress);
    } catch (error) {
      if (!config.predict) throw error;
      console.warn("The network does not run in this browser, so that the server runs it:", error);
    }
  }
  if (!config.predict) throw new Error("config.json names neither a model nor a server");
  return server(config, config.predict);
}

/**
 * @param {Config} config
 * @param {string} model
 * @param {(progress: number) => void} onProgress
 * @returns {Promise<Engine>}
 */
async function browser({ size }, model, onProgress) {
  const ask = asking(() => new Worker(new URL("engine-worker.js", import.meta.url)));
  const only = new URLSearchParams(location.search).get("on");
  const accelerator = await ask("start", { model: new URL(model, document.baseURI).href, size, only }, onProgress);
  return {
    kind: "browser",
    on: accelerator === "webgpu" ? "its graphics processor" : "its processor",
    run: (l) => ask("run", { l, size }),
  };
}

/**
 * The REST protocol of TensorFlow Serving, in columns.
 *
 * @param {Config} config
 * @param {string} predict
 * @returns {Engine}
 */
function server({ size }, predict) {
  /** @param {Float32Array} l @returns {Promise<Outputs>} */
  async function run(l) {
    const rows = Array.from({ length: size }, (_, y) => Array.from(l.subarray(y * size, (y + 1) * size), (v) => [v]));
    const response = await fetch(new URL(predict, document.baseURI), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ signature_name: "ab", inputs: { l: [rows] } }),
    });
    const said = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error(`the server says: ${said.error ?? response.status}`);
    // Of a single output, TensorFlow Serving leaves out the name.
    const { ab, logits } = Array.isArray(said.outputs) ? { ab: said.outputs, logits: null } : said.outputs;
    return { ab: Float32Array.from(ab.flat(3)), logits: logits && Float32Array.from(logits[0]) };
  }
  return { kind: "server", on: "the server", run };
}
