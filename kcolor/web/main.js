/**
 * The page: takes photographs, one after the other through the network, and shows what becomes of each.
 *
 * @import { Config, Engine } from "./engine.js"
 * @import { Colours } from "./join.js"
 * @import { Seen } from "./photo-worker.js"
 */

import { asking } from "./ask.js";
import { card } from "./card.js";
import { started } from "./engine.js";
import { PhotoError, typed } from "./header.js";
import { keep } from "./offline.js";

// Photographs that are taken in one go: more would be a page that nobody can look through.
const MOST = 100;
// In CIE units of mean chroma, below which a photograph looks grey.
const COLOURLESS = 2;

const PRIVATE = "They are coloured here, in your browser, and sent nowhere.";
const SENT = "Each is shown to this server’s network as a small grey picture; the rest is done in your browser.";

const page = {
  promise: byId("promise", HTMLElement),
  engine: byId("engine", HTMLElement),
  engineText: byId("engine-text", HTMLElement),
  engineProgress: byId("engine-progress", HTMLProgressElement),
  message: byId("message", HTMLElement),
  spoken: byId("spoken", HTMLElement),
  photos: byId("photos", HTMLOListElement),
  about: byId("about", HTMLElement),
  files: byId("files", HTMLInputElement),
  choose: byId("choose", HTMLButtonElement),
};

const ask = asking(() => new Worker(new URL("photo-worker.js", import.meta.url), { type: "module" }));
const ready = start();
/** The end of the queue: photographs are decoded one at a time, since each may take much memory. */
let turn = Promise.resolve();

listen();
ready.catch((error) => {
  page.engineText.textContent = "";
  page.engineProgress.hidden = true;
  const help = "Reload the page; if that does not help, try another browser.";
  say(`Photographs cannot be coloured here: ${error.message}. ${help}`);
});

/** @returns {Promise<{ config: Config, engine: Engine }>} */
async function start() {
  const response = await fetch("config.json");
  if (!response.ok) throw new Error(`config.json cannot be fetched (${response.status})`);
  /** @type {Config} */
  const config = await response.json();
  page.promise.textContent = config.engine === "browser" ? PRIVATE : SENT;
  const { name, size, kcolor } = config;
  page.about.textContent = `Model ${name}, which sees ${size} × ${size} pixels; kcolor ${kcolor ?? ""}`;
  const kept = await keep(config.version ?? "");
  const engine = await started(config, (progress) => {
    page.engineText.textContent = "Loading the model";
    page.engineProgress.hidden = false;
    page.engineProgress.value = progress;
  });
  page.promise.textContent = engine.kind === "browser" ? PRIVATE : SENT;
  const offline = kept && engine.kind === "browser";
  page.engineText.textContent = offline ? "Ready, from now on also without a network." : "Ready.";
  page.engineProgress.hidden = true;
  page.engine.dataset.on = engine.on;
  return { config, engine };
}

function listen() {
  page.choose.addEventListener("click", () => page.files.click());
  page.files.addEventListener("change", () => {
    add([...(page.files.files ?? [])]);
    page.files.value = "";
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) add(files);
    else say("There is no photograph in what was pasted: copy a picture, not its address or text.");
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    const files = [...(event.dataTransfer?.files ?? [])];
    if (files.length) add(files);
    else say("There is no file in what was dropped: save the picture first, and drop its file.");
  });
}

/** @param {File[]} files */
function add(files) {
  page.message.hidden = true;
  if (files.length > MOST) {
    say(`Of ${files.length.toLocaleString("en")} files the first ${MOST} are taken; add the others afterwards.`);
  }
  for (const file of files.slice(0, MOST)) {
    const photo = new Photo(file);
    turn = turn.then(() => photo.process());
  }
}

class Photo {
  /** @type {Seen | undefined} */ #seen;
  /** @type {Colours | undefined} */ #colours;
  #removed = false;

  /** @param {File} file */
  constructor(file) {
    this.file = file;
    this.name = file.name || "photograph";
    this.card = card(page.photos, this.name, {
      recolour: (saturation) => this.#shown(saturation),
      download: (format, saturation, onProgress) => this.#download(format, saturation, onProgress),
      remove: () => {
        this.#removed = true;
      },
    });
    this.card.state("Waiting", null);
  }

  /** Never fails: what goes wrong is told on the page. */
  async process() {
    if (this.#removed) return;
    try {
      const { config, engine } = await ready;
      this.card.state("Reading", null);
      const { size, classes } = config;
      /** @type {Seen} */
      const seen = await ask("see", { file: this.file, size }, (progress) => this.card.state("Reading", progress));
      this.card.state("Finding colours", null);
      const { ab, logits } = await engine.run(seen.l);
      if (!ab.every(Number.isFinite)) throw new Error("the network gives NaN for it");
      this.#seen = seen;
      this.#colours = { size, ab, guide: seen.guide };
      const scene = logits && classes && classes.length === logits.length ? guessed(logits, classes) : "";
      const pale = chroma(ab) < COLOURLESS ? "The network found next to no colour in it. " : "";
      const after = await this.#shown(1);
      if (this.#removed) return;
      await this.card.done({
        before: seen.preview,
        after,
        format: seen.alpha || ["png", "bmp", "gif"].includes(seen.format) ? "png" : "jpeg",
        alpha: seen.alpha,
        scene: pale + scene,
      });
      speak(`${this.name} is in colour. ${pale}${scene}`);
    } catch (error) {
      const { message } = /** @type {Error} */ (error);
      const fault = `could not be coloured: ${message}. Reload the page, and try it again.`;
      this.card.failed(error instanceof PhotoError ? message : fault);
      speak(`${this.name} could not be coloured.`);
    }
  }

  /** @param {number} saturation @returns {Promise<Blob>} As large as the page shows it. */
  #shown(saturation) {
    const { preview, alpha } = this.#known();
    const format = alpha ? "png" : "jpeg";
    return ask("colour", { file: preview, colours: this.#colours, saturation, format, alpha, note: "" });
  }

  /**
   * @param {"png" | "jpeg"} format
   * @param {number} saturation
   * @param {(progress: number) => void} onProgress
   */
  async #download(format, saturation, onProgress) {
    const { config } = await ready;
    const { alpha, format: from } = this.#known();
    const file = typed(this.file, from);
    const given = { file, colours: this.#colours, saturation, format, alpha, note: config.note ?? "" };
    const picture = await ask("colour", given, onProgress);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(picture);
    link.download = `${this.name.replace(/\.[^.]*$/, "")}-coloured.${format === "jpeg" ? "jpg" : "png"}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    speak(`${link.download} is in your downloads.`);
  }

  #known() {
    if (!this.#seen) throw new Error("it has not been read yet");
    return this.#seen;
  }
}

/** @param {Float32Array} logits @param {string[]} classes @returns {string} What the network took it for. */
function guessed(logits, classes) {
  const most = Math.max(...logits);
  const shares = Array.from(logits, (logit) => Math.exp(logit - most));
  const total = shares.reduce((sum, share) => sum + share, 0);
  const [first, second] = shares
    .map((share, i) => ({ name: classes[i], percent: Math.round((100 * share) / total) }))
    .sort((one, other) => other.percent - one.percent);
  const next = second && second.percent >= 20 ? `, or ${second.name} (${second.percent}\u00a0%)` : "";
  return `The network took it for: ${first.name} (${first.percent}\u00a0%)${next}.`;
}

/** @param {Float32Array} ab @returns {number} Its mean chroma, in CIE units. */
function chroma(ab) {
  let sum = 0;
  for (let i = 0; i < ab.length; i += 2) sum += Math.hypot(ab[i], ab[i + 1]);
  return (128 * 2 * sum) / ab.length;
}

/** @param {string} text What concerns no single photograph. */
function say(text) {
  page.message.textContent = text;
  page.message.hidden = false;
}

/** @param {string} text For screen readers: what the others see happen. */
function speak(text) {
  page.spoken.textContent = text;
}

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} kind
 * @returns {T}
 */
function byId(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no #${id}`);
  return found;
}
