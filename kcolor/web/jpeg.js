/** JPEG, written by the browser; the note goes into it afterwards. */

const NAMESPACE = "http://ns.adobe.com/xap/1.0/\0";
// Of 0 to 1. Above 0.9 or so browsers keep colours at full resolution.
const QUALITY = 0.95;

/**
 * @param {number} width
 * @param {number} height
 * @param {string} note XMP; "" for none.
 * @throws {Error} The browser has no canvas of this size.
 */
export function jpegWriter(width, height, note) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("no canvas");
  let y = 0;
  return {
    /** @param {Uint8ClampedArray<ArrayBuffer>} pixels Rows of RGBA. */
    async add(pixels) {
      const strip = new ImageData(pixels, width);
      context.putImageData(strip, 0, y);
      y += strip.height;
    },
    /** @returns {Promise<Blob>} */
    async end() {
      const made = await canvas.convertToBlob({ type: "image/jpeg", quality: QUALITY });
      return note ? noted(made, note) : made;
    },
  };
}

/** @param {Blob} jpeg @param {string} note */
async function noted(jpeg, note) {
  const xmp = new TextEncoder().encode(NAMESPACE + note);
  const view = new DataView(await jpeg.slice(0, 6).arrayBuffer());
  // XMP follows the segment of JFIF, if there is one.
  const end = view.getUint16(2) === 0xffe0 ? 4 + view.getUint16(4) : 2;
  const head = new DataView(new ArrayBuffer(4));
  head.setUint16(0, 0xffe1);
  head.setUint16(2, 2 + xmp.length);
  return new Blob([jpeg.slice(0, end), head, xmp, jpeg.slice(end)], { type: "image/jpeg" });
}
