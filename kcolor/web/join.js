/** A photograph's own lightness and small colours -> the coloured photograph, strip by strip; as kcolor.join. */

import { lightness, paint } from "./lab.js";
import { planes } from "./planes.js";
import { blend, CUBIC, enlarging, LINEAR, plan } from "./upsample.js";

/**
 * @typedef {object} Outputs What the network says of what it is given.
 * @property {Float32Array} ab (size, size, 2), scaled to [-1, 1].
 * @property {Float32Array | null} logits Of the classes, where it classifies.
 */

/**
 * @typedef {object} Colours What the network says of a photograph, and what it saw.
 * @property {number} size Side of the squares.
 * @property {Float32Array} ab (size, size, 2), scaled to [-1, 1].
 * @property {Float32Array} guide The photograph's l, (size, size), not rounded to 8 bits.
 */

/**
 * @param {Colours} colours
 * @param {number} saturation What chroma is multiplied by.
 * @param {number} height Of the photograph.
 * @param {number} width
 * @returns {(pixels: Uint8ClampedArray, first: number) => void} Colours rows of RGBA, from row `first` on, in place.
 */
export function joiner({ size, ab, guide }, saturation, height, width) {
  const small = planes(size, size, 2, ab.map((value) => saturation * value));
  const { cubic, linear, origin } = plan(small, planes(size, size, 1, guide), height, width);
  const w = cubic.w;
  const downCubic = enlarging(height, cubic.h, CUBIC);
  const downLinear = enlarging(height, linear.h, LINEAR);
  const cubics = columns(width, w, CUBIC);
  const linears = columns(width, w, LINEAR);
  const curve = new Float64Array(w * 4);
  const line = new Float64Array(w * 4);
  const [originA, originB] = origin;

  return (pixels, first) => {
    const count = pixels.length / (4 * width);
    for (let i = 0; i < count; i++) {
      blend(cubic, downCubic[first + i], curve);
      blend(linear, downLinear[first + i], line);
      for (let x = 0, place = 4 * i * width; x < width; x++, place += 4) {
        let offsetA = 0;
        let offsetB = 0;
        let slopeA = 0;
        let slopeB = 0;
        for (let k = 4 * x; k < 4 * x + 4; k++) {
          const weight = cubics.weights[k];
          const at = cubics.places[k];
          offsetA += weight * curve[at];
          offsetB += weight * curve[at + 1];
          slopeA += weight * curve[at + 2];
          slopeB += weight * curve[at + 3];
        }
        let leastA = 0;
        let leastB = 0;
        let mostA = 0;
        let mostB = 0;
        for (let k = 2 * x; k < 2 * x + 2; k++) {
          const weight = linears.weights[k];
          const at = linears.places[k];
          leastA += weight * line[at];
          leastB += weight * line[at + 1];
          mostA += weight * line[at + 2];
          mostB += weight * line[at + 3];
        }
        const l = lightness(pixels[place], pixels[place + 1], pixels[place + 2]);
        const a = Math.min(Math.max(offsetA + slopeA * l, leastA), mostA) + originA;
        const b = Math.min(Math.max(offsetB + slopeB * l, leastB), mostB) + originB;
        paint(pixels, place, l, a, b);
      }
    }
  };
}

/**
 * As `enlarging`, but as many for each pixel, and where in a row of four channels they are: what the inner loop needs.
 *
 * @param {number} large
 * @param {number} small
 * @param {{ kernel: (x: number) => number, reach: number }} by
 */
function columns(large, small, by) {
  const each = 2 * by.reach;
  const weights = new Float64Array(large * each);
  const places = new Int32Array(large * each);
  enlarging(large, small, by).forEach((taps, x) => {
    taps.weights.forEach((weight, k) => {
      weights[x * each + k] = weight;
      places[x * each + k] = 4 * (taps.first + k);
    });
  });
  return { weights, places };
}
