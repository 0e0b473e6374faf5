/**
 * Small colours at a photograph's size, along the photograph's own edges: `guided` of kcolor.upsample, which says how
 * it works and where it is from.
 *
 * @import { Planes, Taps } from "./planes.js"
 */

import { normalized, planes, resized } from "./planes.js";

/**
 * @typedef {object} Plan What is to be enlarged, relative to one colour.
 * @property {Planes} cubic By cubics: the offset of a and b, and their slope over l.
 * @property {Planes} linear By straight lines: the least a and b, and the greatest.
 * @property {[number, number]} origin
 */

const RIDGE = 1e-3;
const GAUSSIAN = normalized(Float64Array.of(0.13, 0.36, 0.13, 0.36, 1, 0.36, 0.13, 0.36, 0.13));
const BINOMIAL = normalized(Float64Array.of(1, 2, 1, 2, 4, 2, 1, 2, 1));
const PRIOR = 0.5;
const UNSEEN = 5e-6;
const LARGE = 8;

/**
 * @param {Planes} ab Scaled to [-1, 1].
 * @param {Planes} guide The photograph's l, made as small.
 * @param {number} height Of the photograph.
 * @param {number} width
 * @returns {Plan}
 */
export function plan(ab, guide, height, width) {
  const h = Math.min(ab.h, height);
  const w = Math.min(ab.w, width);
  const [a, b] = ab.data;
  const small = resized({ ...ab, data: ab.data.map((value, i) => value - (i % 2 ? b : a)) }, h, w);
  const l = resized(guide, h, w);
  const trust = trusted(small, l);
  const slope = slopes(small, l);
  const base = projected(small, height, width);
  const baseL = projected(l, height, width);
  const cubic = planes(h, w, 4);
  for (let i = 0; i < h * w; i++) {
    for (let c = 0; c < 2; c++) {
      const trustedSlope = trust * slope.data[2 * i + c];
      cubic.data[4 * i + c] = base.data[2 * i + c] - trustedSlope * baseL.data[i];
      cubic.data[4 * i + 2 + c] = trustedSlope;
    }
  }
  return { cubic, linear: extremes(small), origin: [a, b] };
}

/** The kernels of a plan's two parts. */
export const CUBIC = { kernel: keys, reach: 2 };
export const LINEAR = { kernel: triangle, reach: 1 };

/**
 * @param {number} large The length of the photograph's axis.
 * @param {number} small The length of the plan's.
 * @param {{ kernel: (x: number) => number, reach: number }} by
 * @returns {Taps[]} For each pixel of the large axis.
 */
export function enlarging(large, small, { kernel, reach }) {
  return Array.from({ length: large }, (_, i) => {
    const centre = Math.min(Math.max(((i + 0.5) * small) / large - 0.5, 0), small - 1);
    const first = Math.max(Math.floor(centre) + 1 - reach, 0);
    const last = Math.min(Math.floor(centre) + reach, small - 1);
    const weights = new Float64Array(last - first + 1);
    for (let k = 0; k < weights.length; k++) weights[k] = kernel(centre - first - k);
    return { first, weights: normalized(weights) };
  });
}

/**
 * How much ab changes with l around each pixel, by least squares over 3x3 pixels, smoothed.
 *
 * @param {Planes} ab
 * @param {Planes} l
 */
function slopes(ab, l) {
  const { h, w } = l;
  let slope = planes(h, w, 2);
  around(h, w, (here, near) => {
    let meanL = 0;
    let squares = 0;
    const mean = [0, 0];
    const products = [0, 0];
    for (let k = 0; k < 9; k++) {
      const weight = GAUSSIAN[k];
      const dl = l.data[near[k]] - l.data[here];
      meanL += weight * dl;
      squares += weight * dl * dl;
      for (let c = 0; c < 2; c++) {
        const dab = ab.data[2 * near[k] + c] - ab.data[2 * here + c];
        mean[c] += weight * dab;
        products[c] += weight * dl * dab;
      }
    }
    for (let c = 0; c < 2; c++) {
      slope.data[2 * here + c] = (products[c] - meanL * mean[c]) / (squares - meanL * meanL + RIDGE);
    }
  });
  for (let i = 0; i < 2; i++) slope = smoothed(slope);
  return slope;
}

/** @param {Planes} x */
function smoothed(x) {
  const made = planes(x.h, x.w, 2);
  around(x.h, x.w, (here, near) => {
    for (let k = 0; k < 9; k++) {
      made.data[2 * here] += BINOMIAL[k] * x.data[2 * near[k]];
      made.data[2 * here + 1] += BINOMIAL[k] * x.data[2 * near[k] + 1];
    }
  });
  return made;
}

/**
 * The least and the greatest of 3x3 pixels.
 *
 * @param {Planes} ab
 */
function extremes(ab) {
  const made = planes(ab.h, ab.w, 4);
  around(ab.h, ab.w, (here, near) => {
    for (let c = 0; c < 2; c++) {
      let least = Infinity;
      let greatest = -Infinity;
      for (let k = 0; k < 9; k++) {
        const value = ab.data[2 * near[k] + c];
        if (value < least) least = value;
        if (value > greatest) greatest = value;
      }
      made.data[4 * here + c] = least;
      made.data[4 * here + 2 + c] = greatest;
    }
  });
  return made;
}

/**
 * Call with each pixel and the nine of it and those around it, row by row; beyond the border, what is at it.
 *
 * @param {number} h
 * @param {number} w
 * @param {(here: number, near: Int32Array) => void} each
 */
function around(h, w, each) {
  const near = new Int32Array(9);
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      for (let k = 0; k < 9; k++) {
        const row = Math.min(Math.max(y + Math.floor(k / 3) - 1, 0), h - 1);
        const column = Math.min(Math.max(x + (k % 3) - 1, 0), w - 1);
        near[k] = row * w + column;
      }
      each(y * w + x, near);
    }
  }
}

/**
 * In 0..1: the share of what half the picture lacks that the guidance brings back.
 *
 * @param {Planes} ab
 * @param {Planes} l
 */
function trusted(ab, l) {
  const { h, w } = l;
  const halfH = Math.max(Math.floor(h / 2), 1);
  const halfW = Math.max(Math.floor(w / 2), 1);
  const halfAb = resized(ab, halfH, halfW);
  const halfL = resized(l, halfH, halfW);
  const slope = slopes(halfAb, halfL);
  const base = projected(halfAb, h, w);
  const baseL = projected(halfL, h, w);
  const parts = planes(halfH, halfW, 6);
  for (let i = 0; i < halfH * halfW; i++) {
    for (let c = 0; c < 2; c++) {
      parts.data[6 * i + c] = base.data[2 * i + c];
      parts.data[6 * i + 2 + c] = slope.data[2 * i + c];
      parts.data[6 * i + 4 + c] = slope.data[2 * i + c] * baseL.data[i];
    }
  }
  const { data } = enlarged(parts, h, w);
  let alike = 0;
  let seen = 0;
  for (let i = 0; i < h * w; i++) {
    for (let c = 0; c < 2; c++) {
      const brought = data[6 * i + 2 + c] * l.data[i] - data[6 * i + 4 + c];
      alike += brought * (ab.data[2 * i + c] - data[6 * i + c]);
      seen += brought * brought;
    }
  }
  const count = 2 * h * w;
  return Math.min(Math.max((alike / count + PRIOR * UNSEEN) / (seen / count + UNSEEN), 0), 1);
}

/**
 * All of a small picture, enlarged by cubics.
 *
 * @param {Planes} x
 * @param {number} height
 * @param {number} width
 */
function enlarged(x, height, width) {
  const { w, channels } = x;
  const wide = planes(x.h, width, channels);
  enlarging(width, w, CUBIC).forEach(({ first, weights }, column) => {
    for (let row = 0; row < x.h; row++) {
      for (let k = 0; k < weights.length; k++) {
        const from = (row * w + first + k) * channels;
        const to = (row * width + column) * channels;
        for (let c = 0; c < channels; c++) wide.data[to + c] += weights[k] * x.data[from + c];
      }
    }
  });
  const made = planes(height, width, channels);
  enlarging(height, x.h, CUBIC).forEach((taps, row) => {
    blend(wide, taps, made.data.subarray(row * width * channels, (row + 1) * width * channels));
  });
  return made;
}

/**
 * One row between the rows of a picture.
 *
 * @param {Planes} x
 * @param {Taps} taps
 * @param {Float64Array} into The row, as wide as x.
 */
export function blend(x, { first, weights }, into) {
  const length = x.w * x.channels;
  into.fill(0);
  for (let k = 0; k < weights.length; k++) {
    const weight = weights[k];
    for (let i = 0, from = (first + k) * length; i < length; i++, from++) into[i] += weight * x.data[from];
  }
}

/**
 * One step of back-projection: x, and once more what is lost of it when it is enlarged and made small again.
 *
 * @param {Planes} x
 * @param {number} height What it will be enlarged to.
 * @param {number} width
 */
function projected(x, height, width) {
  const { h, w, channels } = x;
  const down = blur(h, height);
  const across = blur(w, width);
  const half = planes(h, w, channels);
  for (let y = 0; y < h; y++) {
    for (let to = 0; to < w; to++) {
      const { first, weights } = across[to];
      for (let k = 0; k < weights.length; k++) {
        for (let c = 0; c < channels; c++) {
          half.data[(y * w + to) * channels + c] += weights[k] * x.data[(y * w + first + k) * channels + c];
        }
      }
    }
  }
  const made = planes(h, w, channels);
  for (let y = 0; y < h; y++) {
    const row = made.data.subarray(y * w * channels, (y + 1) * w * channels);
    blend(half, down[y], row);
    for (let i = 0, at = y * row.length; i < row.length; i++, at++) row[i] = 2 * x.data[at] - row[i];
  }
  return made;
}

/**
 * What enlarging by cubics, and making small after it, do to one axis.
 *
 * @param {number} small
 * @param {number} large
 * @returns {Taps[]}
 */
function blur(small, large) {
  const middle = Math.min(large, LARGE * small);
  const enlarge = enlarging(middle, small, CUBIC);
  const ratio = middle / small;
  return Array.from({ length: small }, (_, i) => {
    const centre = (i + 0.5) * ratio - 0.5;
    const start = Math.max(Math.ceil(centre - ratio), 0);
    const end = Math.min(Math.floor(centre + ratio), middle - 1);
    const shares = new Float64Array(end - start + 1);
    for (let k = 0; k < shares.length; k++) shares[k] = triangle((centre - start - k) / ratio);
    const weights = new Float64Array(small);
    normalized(shares).forEach((share, k) => {
      const taps = enlarge[start + k];
      for (let j = 0; j < taps.weights.length; j++) weights[taps.first + j] += share * taps.weights[j];
    });
    const first = enlarge[start].first;
    const { first: last, weights: lastOnes } = enlarge[end];
    return { first, weights: weights.slice(first, last + lastOnes.length) };
  });
}

/** @param {number} x */
function triangle(x) {
  return Math.max(1 - Math.abs(x), 0);
}

/**
 * Keys' cubic, which goes through what it interpolates.
 *
 * @param {number} x
 */
function keys(x) {
  const d = Math.abs(x);
  if (d < 1) return (1.5 * d - 2.5) * d * d + 1;
  return d < 2 ? ((-0.5 * d + 2.5) * d - 4) * d + 2 : 0;
}
