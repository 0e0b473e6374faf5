/** Small pictures of several channels, resized as TensorFlow resizes them: by triangles, as wide as a step is large. */

/**
 * @typedef {object} Planes
 * @property {number} h
 * @property {number} w
 * @property {number} channels
 * @property {Float64Array} data Row by row, pixel by pixel.
 */

/**
 * @typedef {object} Taps What one pixel of a resized axis is made of: from `first` on, by `weights`.
 * @property {number} first
 * @property {Float64Array} weights
 */

/**
 * @param {number} h
 * @param {number} w
 * @param {number} channels
 * @param {ArrayLike<number>} [data]
 * @returns {Planes}
 */
export function planes(h, w, channels, data) {
  return { h, w, channels, data: data ? Float64Array.from(data) : new Float64Array(h * w * channels) };
}

/**
 * @param {number} from The length of an axis.
 * @param {number} to What it is resized to.
 * @returns {Taps[]} For each of the new pixels.
 */
export function antialiased(from, to) {
  const step = from / to;
  const reach = Math.max(step, 1);
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * step;
    const first = Math.max(Math.ceil(centre - reach - 0.5), 0);
    const last = Math.min(Math.floor(centre + reach - 0.5), from - 1);
    const weights = new Float64Array(last - first + 1);
    for (let k = 0; k < weights.length; k++) weights[k] = Math.max(1 - Math.abs(first + k + 0.5 - centre) / reach, 0);
    return { first, weights: normalized(weights) };
  });
}

/** @param {Float64Array} weights */
export function normalized(weights) {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

/**
 * @param {Planes} x
 * @param {number} h
 * @param {number} w
 * @returns {Planes}
 */
export function resized(x, h, w) {
  if (x.h === h && x.w === w) return x;
  const shrinking = shrinker(x.h, x.w, h, w, x.channels);
  shrinking.add(x.data, x.channels, x.h);
  return shrinking.made;
}

/**
 * Resize a picture that comes in strips, from the top.
 *
 * @param {number} height Of the whole, as it comes.
 * @param {number} width
 * @param {number} h What it is resized to.
 * @param {number} w
 * @param {number} channels How many are resized.
 */
export function shrinker(height, width, h, w, channels) {
  const across = antialiased(width, w);
  const down = antialiased(height, h);
  const made = planes(h, w, channels);
  const row = new Float64Array(w * channels);
  let y = 0;
  let top = 0;
  return {
    /** Whole once all rows have been added. */
    made,
    /**
     * @param {ArrayLike<number>} pixels
     * @param {number} stride Values to a pixel, of which the first `channels` are taken.
     * @param {number} count Rows.
     */
    add(pixels, stride, count) {
      for (let i = 0; i < count; i++, y++) {
        const start = i * width * stride;
        for (let x = 0; x < w; x++) {
          const { first, weights } = across[x];
          for (let c = 0; c < channels; c++) {
            let sum = 0;
            for (let k = 0, at = start + first * stride + c; k < weights.length; k++, at += stride) {
              sum += weights[k] * pixels[at];
            }
            row[x * channels + c] = sum;
          }
        }
        while (top < h && down[top].first + down[top].weights.length <= y) top++;
        for (let into = top; into < h && down[into].first <= y; into++) {
          const weight = down[into].weights[y - down[into].first];
          for (let k = 0, at = into * row.length; k < row.length; k++, at++) made.data[at] += weight * row[k];
        }
      }
    },
  };
}
