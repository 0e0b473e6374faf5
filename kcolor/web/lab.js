/**
 * sRGB <-> CIE Lab, pixel by pixel: the formulas and constants of kcolor.color, which says where they are from.
 *
 * `l` is L / 50 - 1, and `a` and `b` are divided by 128, as the networks see them.
 */

const L_SCALE = 50;
const AB_SCALE = 128;

// XYZ relative to the white of D65, of sRGB without its gamma.
const WHITE = [0.95047, 1, 1.08883];
const XYZ_FROM_RGB = [
  [0.412453, 0.35758, 0.180423],
  [0.212671, 0.71516, 0.072169],
  [0.019334, 0.119193, 0.950227],
].map((row, i) => row.map((value) => value / WHITE[i]));
const [[RX, RY, RZ], [GX, GY, GZ], [BX, BY, BZ]] = inverse(XYZ_FROM_RGB);
const [YR, YG, YB] = XYZ_FROM_RGB[1];

const DELTA = 6 / 29;
const SLOPE = 3 * DELTA * DELTA;

// Half a level below the darkest and above the lightest of 8 bits: what is rounded to one that exists.
const DARKEST = -0.5 / 255 / 12.92;
const LIGHTEST = ((1 + 0.5 / 255 + 0.055) / 1.055) ** 2.4;
// How exactly the edge of the gamut is found.
const HALVINGS = 14;

/** The 256 levels without their gamma. */
const LINEAR = Float64Array.from({ length: 256 }, (_, level) => withoutGamma(level / 255));
/** `l` of the 256 greys. */
const GREYS = Float64Array.from(LINEAR, (linear) => lightnessOfY((YR + YG + YB) * linear));

// From a value without gamma to the level it is rounded to: a table that is never too high, and where each level ends.
const STEPS = 4096;
const ENDS = Float64Array.from(LINEAR, (_, level) => (level < 255 ? withoutGamma((level + 0.5) / 255) : Infinity));
const LEVELS = Uint8Array.from({ length: STEPS + 1 }, (_, step) => ENDS.findIndex((end) => step / STEPS < end));

/**
 * The lightness of a pixel.
 *
 * @param {number} r 0 to 255, whole, as are the others.
 * @param {number} g
 * @param {number} b
 * @returns {number} Scaled to [-1, 1].
 */
export function lightness(r, g, b) {
  if (r === g && g === b) return GREYS[r];
  return lightnessOfY(YR * LINEAR[r] + YG * LINEAR[g] + YB * LINEAR[b]);
}

/**
 * The lightness of a colour between the levels.
 *
 * @param {number} r 0 to 1, as are the others.
 * @param {number} g
 * @param {number} b
 * @returns {number} Scaled to [-1, 1].
 */
export function lightnessBetween(r, g, b) {
  return lightnessOfY(YR * withoutGamma(r) + YG * withoutGamma(g) + YB * withoutGamma(b));
}

/**
 * Write a colour as a pixel. What sRGB does not have moves toward the grey of its own lightness until it does.
 *
 * @param {Uint8Array | Uint8ClampedArray} pixels
 * @param {number} place Where its red goes; green and blue follow.
 * @param {number} l Scaled to [-1, 1], as are the others.
 * @param {number} a
 * @param {number} b
 */
export function paint(pixels, place, l, a, b) {
  const fy = ((l + 1) * L_SCALE + 16) / 116;
  const y = cube(fy);
  let x = cube(fy + (a * AB_SCALE) / 500);
  let z = cube(fy - (b * AB_SCALE) / 200);
  if (!isInside(x, y, z)) {
    let part = 0;
    for (let step = 0.5, i = 0; i < HALVINGS; step /= 2, i++) {
      const more = part + step;
      if (isInside(cube(fy + (more * a * AB_SCALE) / 500), y, cube(fy - (more * b * AB_SCALE) / 200))) part = more;
    }
    x = cube(fy + (part * a * AB_SCALE) / 500);
    z = cube(fy - (part * b * AB_SCALE) / 200);
  }
  pixels[place] = level(RX * x + RY * y + RZ * z);
  pixels[place + 1] = level(GX * x + GY * y + GZ * z);
  pixels[place + 2] = level(BX * x + BY * y + BZ * z);
}

/** @param {number} x @param {number} y @param {number} z */
function isInside(x, y, z) {
  const r = RX * x + RY * y + RZ * z;
  const g = GX * x + GY * y + GZ * z;
  const b = BX * x + BY * y + BZ * z;
  return r > DARKEST && g > DARKEST && b > DARKEST && r < LIGHTEST && g < LIGHTEST && b < LIGHTEST;
}

/** @param {number} linear @returns {number} The level, 0 to 255, of a value without gamma. */
function level(linear) {
  if (!(linear > 0)) return 0;
  if (linear >= 1) return 255;
  let found = LEVELS[(linear * STEPS) | 0];
  while (linear >= ENDS[found]) found++;
  return found;
}

/** @param {number} value */
function withoutGamma(value) {
  return value > 0.04045 ? ((value + 0.055) / 1.055) ** 2.4 : value / 12.92;
}

/** @param {number} y */
function lightnessOfY(y) {
  const f = y > DELTA ** 3 ? Math.cbrt(y) : y / SLOPE + 4 / 29;
  return (116 * f - 16) / L_SCALE - 1;
}

/** @param {number} f */
function cube(f) {
  return f > DELTA ? f * f * f : SLOPE * (f - 4 / 29);
}

/** @param {number[][]} matrix Three by three. */
function inverse(matrix) {
  const [[a, b, c], [d, e, f], [g, h, i]] = matrix;
  const determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
  return [
    [e * i - f * h, c * h - b * i, b * f - c * e],
    [f * g - d * i, a * i - c * g, c * d - a * f],
    [d * h - e * g, b * g - a * h, a * e - b * d],
  ].map((row) => row.map((value) => value / determinant));
}
