/**
 * Photographs, away from the page, which stays at hand meanwhile: decoded, shown small to the network, and coloured.
 *
 * @import { Tell } from "./answer.js"
 * @import { Colours } from "./join.js"
 */

import { answer } from "./answer.js";
import { inspect, MAX_BYTES, PhotoError, typed } from "./header.js";
import { joiner } from "./join.js";
import { jpegWriter } from "./jpeg.js";
import { lightness, lightnessBetween } from "./lab.js";
import { shrinker } from "./planes.js";
import { pngWriter } from "./png.js";

// Pixels that are worked on at once.
const STRIP = 2 ** 18;
// The longer side of what the page shows.
const SHOWN = 1600;

/**
 * @typedef {object} Seen
 * @property {string} format
 * @property {number} width Upright.
 * @property {number} height
 * @property {boolean} alpha
 * @property {Float32Array} l What the network is given, (size, size), scaled to [-1, 1].
 * @property {Float32Array} guide See `Colours`.
 * @property {Blob} preview The photograph, as large as the page shows it.
 */

/**
 * @param {{ file: Blob, size: number }} given Side of the squares that the network takes.
 * @param {Tell} tell
 * @returns {Promise<Seen>}
 */
async function see({ file, size }, tell) {
  if (file.size > MAX_BYTES) {
    const [bytes, most] = [file.size, MAX_BYTES].map((n) => Math.round(n / 1e6).toLocaleString("en"));
    throw new PhotoError(`has ${bytes} MB; files of up to ${most} MB are coloured here.`);
  }
  const { format } = inspect(new Uint8Array(await readable(file)));
  const bitmap = await decoded(typed(file, format), format);
  try {
    const { width, height } = bitmap;
    const shrinking = shrinker(height, width, size, size, 3);
    let alpha = false;
    for (const [pixels, first] of strips(bitmap)) {
      shrinking.add(pixels, 4, pixels.length / (4 * width));
      alpha ||= isTranslucent(pixels);
      tell(first / height);
    }
    const { data } = shrinking.made;
    const l = new Float32Array(size * size);
    const guide = new Float32Array(size * size);
    for (let i = 0; i < l.length; i++) {
      const [r, g, b] = data.subarray(3 * i, 3 * i + 3);
      l[i] = lightness(Math.round(r), Math.round(g), Math.round(b));
      guide[i] = lightnessBetween(r / 255, g / 255, b / 255);
    }
    return { format, width, height, alpha, l, guide, preview: await shrunk(bitmap, alpha) };
  } finally {
    bitmap.close();
  }
}

/**
 * @typedef {object} Wanted
 * @property {Blob} file
 * @property {Colours} colours
 * @property {number} saturation
 * @property {"png" | "jpeg"} format
 * @property {boolean} alpha Whether the file has transparency.
 * @property {string} note XMP; "" for none.
 */

/**
 * @param {Wanted} given
 * @param {Tell} tell
 * @returns {Promise<Blob>}
 */
async function colour({ file, colours, saturation, format, alpha, note }, tell) {
  const bitmap = await decoded(file, "photograph");
  try {
    const { width, height } = bitmap;
    const writer = format === "png" ? pngWriter(width, height, alpha, note) : jpegWriter(width, height, note);
    const paint = joiner(colours, saturation, height, width);
    for (const [pixels, first] of strips(bitmap)) {
      paint(pixels, first);
      await writer.add(pixels);
      tell((first * width + pixels.length / 4) / (width * height));
    }
    return await writer.end();
  } finally {
    bitmap.close();
  }
}

/** @param {Blob} file */
async function readable(file) {
  try {
    return await file.arrayBuffer();
  } catch {
    throw new PhotoError("cannot be read: it is a folder, has been moved, or may not be opened.");
  }
}

/** @param {Blob} file @param {string} format @returns {Promise<ImageBitmap>} Upright and in sRGB. */
async function decoded(file, format) {
  try {
    return await createImageBitmap(file, { imageOrientation: "from-image", premultiplyAlpha: "none" });
  } catch {
    if (format === "heic" || format === "avif") {
      const name = format.toUpperCase();
      throw new PhotoError(`is ${name}, which this browser cannot read, or is damaged. Save it as JPEG or PNG.`);
    }
    throw new PhotoError("is damaged: the browser cannot decode it. Copy it again from where it came from.");
  }
}

/**
 * The rows of a picture from the top, in strips: a canvas of all of it would be too large for some browsers.
 *
 * @param {ImageBitmap} bitmap
 * @returns {Generator<[Uint8ClampedArray<ArrayBuffer>, number]>} RGBA, and the first row.
 */
function* strips(bitmap) {
  const { width, height } = bitmap;
  const most = Math.min(Math.max(Math.floor(STRIP / width), 1), height);
  const context = canvas(width, most);
  context.globalCompositeOperation = "copy";
  for (let first = 0; first < height; first += most) {
    const count = Math.min(most, height - first);
    context.drawImage(bitmap, 0, first, width, count, 0, 0, width, count);
    yield [context.getImageData(0, 0, width, count).data, first];
  }
}

/** @param {ImageBitmap} bitmap @param {boolean} alpha */
function shrunk(bitmap, alpha) {
  const scale = Math.min(SHOWN / Math.max(bitmap.width, bitmap.height), 1);
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(Math.round(side * scale), 1));
  const context = canvas(width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  return context.canvas.convertToBlob({ type: alpha ? "image/png" : "image/jpeg", quality: 0.95 });
}

/** @param {number} width @param {number} height */
function canvas(width, height) {
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("no canvas");
  return context;
}

/** @param {Uint8ClampedArray} pixels */
function isTranslucent(pixels) {
  for (let i = 3; i < pixels.length; i += 4) if (pixels[i] < 255) return true;
  return false;
}

self.onmessage = ({ data }) => answer(data, { see, colour }, (message) => self.postMessage(message));
