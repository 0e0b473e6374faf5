/**
 * What a file says of itself, asked before the browser decodes it: a header that claims a huge picture would take all
 * memory, and browsers show the half of a photograph that is cut short as if it were whole.
 */

/** What is wrong with a photograph, told to the person whose it is; what its name is followed by. */
export class PhotoError extends Error {}

export const MAX_BYTES = 200e6;
export const MAX_PIXELS = 100e6;

const READ = "JPEG, PNG, WebP, AVIF, GIF and BMP are read";
const CUT_SHORT = "is cut short. Copy it again from where it came from.";
const DAMAGED = "is damaged: its header makes no sense. Copy it again from where it came from.";

/**
 * @typedef {object} Header
 * @property {"jpeg" | "png" | "webp" | "avif" | "heic" | "gif" | "bmp"} format
 * @property {number} width As it is stored, before it is turned upright.
 * @property {number} height
 */

/**
 * @param {Uint8Array} bytes The whole file.
 * @returns {Header}
 * @throws {PhotoError} It is no photograph, is cut short, or is larger than can be coloured here.
 */
export function inspect(bytes) {
  if (!bytes.length) throw new PhotoError("is empty: a file of 0 bytes.");
  const header = read(bytes);
  const { width, height } = header;
  if (!(width > 0 && height > 0)) throw new PhotoError(DAMAGED);
  if (width * height > MAX_PIXELS) {
    const size = `${width.toLocaleString("en")} × ${height.toLocaleString("en")}`;
    throw new PhotoError(`says that it has ${size} pixels; up to ${MAX_PIXELS / 1e6} million are coloured here.`);
  }
  return header;
}

/**
 * A file by what it is, and not by what its name says, which some browsers would rather believe.
 *
 * @param {Blob} file
 * @param {string} format As of its header.
 */
export function typed(file, format) {
  return file.slice(0, file.size, `image/${format}`);
}

/** @param {Uint8Array} bytes @returns {Header} */
function read(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    if (text(bytes, 0, 8) === "\x89PNG\r\n\x1a\n") return png(view, bytes);
    if (bytes[0] === 0xff && bytes[1] === 0xd8) return jpeg(view, bytes);
    if (text(bytes, 0, 4) === "RIFF" && text(bytes, 8, 4) === "WEBP") return webp(view, bytes);
    if (text(bytes, 4, 4) === "ftyp") return heif(view, bytes);
    if (/^GIF8[79]a/.test(text(bytes, 0, 6))) {
      return { format: "gif", width: view.getUint16(6, true), height: view.getUint16(8, true) };
    }
    if (text(bytes, 0, 2) === "BM" && view.getUint32(14, true) <= 124) return bmp(view);
  } catch (error) {
    if (error instanceof RangeError) throw new PhotoError(CUT_SHORT);
    throw error;
  }
  if (/^(II\*\0|MM\0\*)/.test(text(bytes, 0, 4))) {
    const instead = "Save it as PNG or JPEG, or colour it with kcolor colorize.";
    throw new PhotoError(`is a TIFF, which browsers do not read. ${instead}`);
  }
  throw new PhotoError(`is not a photograph that can be read here: ${READ}.`);
}

/** @param {DataView} view @param {Uint8Array} bytes @returns {Header} */
function png(view, bytes) {
  for (let at = 8; text(bytes, at + 4, 4) !== "IEND"; at += 12 + view.getUint32(at));
  return { format: "png", width: view.getUint32(16), height: view.getUint32(20) };
}

/** @param {DataView} view @param {Uint8Array} bytes @returns {Header} */
function jpeg(view, bytes) {
  let width = 0;
  let height = 0;
  for (let at = 2; ; ) {
    const marker = view.getUint16(at);
    if (marker < 0xff01) throw new PhotoError(DAMAGED);
    if (marker === 0xffd9) return { format: "jpeg", width, height };
    if (marker === 0xffff) {
      at += 1;
      continue;
    }
    const isFrame = marker >= 0xffc0 && marker <= 0xffcf && ![0xffc4, 0xffc8, 0xffcc].includes(marker);
    if (isFrame) [height, width] = [view.getUint16(at + 5), view.getUint16(at + 7)];
    at += 2 + view.getUint16(at + 2);
    if (marker === 0xffda) {
      // Behind a scan's header are its data, in which 0xff is followed by 0 or by a number of RST.
      do {
        at = bytes.indexOf(0xff, at + 1);
        if (at < 0) throw new PhotoError(CUT_SHORT);
      } while (view.getUint8(at + 1) === 0 || (view.getUint8(at + 1) & 0xf8) === 0xd0);
    }
  }
}

/** @param {DataView} view @param {Uint8Array} bytes @returns {Header} */
function webp(view, bytes) {
  if (view.getUint32(4, true) + 8 > bytes.length) throw new PhotoError(CUT_SHORT);
  const kind = text(bytes, 12, 4);
  if (kind === "VP8X") {
    const [width, height] = [24, 27].map((at) => (view.getUint16(at, true) | (view.getUint8(at + 2) << 16)) + 1);
    return { format: "webp", width, height };
  }
  if (kind === "VP8L") {
    const bits = view.getUint32(21, true);
    return { format: "webp", width: (bits & 0x3fff) + 1, height: ((bits >> 14) & 0x3fff) + 1 };
  }
  return { format: "webp", width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff };
}

/** @param {DataView} view @param {Uint8Array} bytes @returns {Header} Of AVIF and HEIC, whose boxes `ispe` tell sizes. */
function heif(view, bytes) {
  const brand = text(bytes, 8, 4);
  if (!/^(avi|mif|msf|hei|hev)/.test(brand)) {
    throw new PhotoError(`is not a photograph that can be read here: ${READ}.`);
  }
  /** @type {Header} */
  const found = { format: brand.startsWith("he") ? "heic" : "avif", width: 0, height: 0 };
  // Of all pictures in the file, tiles and thumbnails among them, the largest.
  for (let at = bytes.indexOf(0x69); at >= 0; at = bytes.indexOf(0x69, at + 1)) {
    if (text(bytes, at, 4) !== "ispe") continue;
    const [width, height] = [view.getUint32(at + 8), view.getUint32(at + 12)];
    if (width * height > found.width * found.height) Object.assign(found, { width, height });
    if (at > 1e6) break;
  }
  return found;
}

/** @param {DataView} view @returns {Header} */
function bmp(view) {
  if (view.getUint32(14, true) === 12) {
    return { format: "bmp", width: view.getUint16(18, true), height: view.getUint16(20, true) };
  }
  return { format: "bmp", width: view.getInt32(18, true), height: Math.abs(view.getInt32(22, true)) };
}

/** @param {Uint8Array} bytes @param {number} at @param {number} length */
function text(bytes, at, length) {
  if (at > bytes.length) throw new RangeError("beyond the end");
  return String.fromCharCode(...bytes.subarray(at, at + length));
}
