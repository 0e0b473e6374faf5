/** PNG, written strip by strip: of any size, where a canvas has its limits, and with a note beside the pixels. */

const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

/**
 * @param {number} width
 * @param {number} height
 * @param {boolean} alpha Whether the pixels' fourth value is kept.
 * @param {string} note XMP; "" for none.
 */
export function pngWriter(width, height, alpha, note) {
  const channels = alpha ? 4 : 3;
  const length = width * channels;
  const deflating = new CompressionStream("deflate");
  const writer = deflating.writable.getWriter();
  /** @type {BlobPart[]} */
  const parts = [SIGNATURE, chunk("IHDR", header(width, height, alpha)), chunk("sRGB", Uint8Array.of(0))];
  if (note) parts.push(chunk("iTXt", new TextEncoder().encode(`XML:com.adobe.xmp\0\0\0\0\0${note}`)));
  const collected = (async () => {
    const reader = deflating.readable.getReader();
    for (let { done, value } = await reader.read(); !done && value; { done, value } = await reader.read()) {
      parts.push(chunk("IDAT", value));
    }
  })();
  let above = new Uint8Array(length);
  let row = new Uint8Array(length);
  return {
    /** @param {Uint8ClampedArray} pixels Rows of RGBA. */
    async add(pixels) {
      const count = pixels.length / (4 * width);
      const filtered = new Uint8Array(count * (length + 1));
      for (let y = 0, to = 0, from = 0; y < count; y++) {
        for (let i = 0; i < length; from += 4) {
          row[i++] = pixels[from];
          row[i++] = pixels[from + 1];
          row[i++] = pixels[from + 2];
          if (alpha) row[i++] = pixels[from + 3];
        }
        filtered[to++] = 4;
        for (let i = 0; i < length; i++) {
          const left = i < channels ? 0 : row[i - channels];
          filtered[to++] = row[i] - paeth(left, above[i], i < channels ? 0 : above[i - channels]);
        }
        [above, row] = [row, above];
      }
      await writer.write(filtered);
    },
    /** @returns {Promise<Blob>} */
    async end() {
      await writer.close();
      await collected;
      return new Blob([...parts, chunk("IEND", new Uint8Array(0))], { type: "image/png" });
    },
  };
}

/** @param {number} left @param {number} up @param {number} corner PNG specification, 9.4. */
function paeth(left, up, corner) {
  const toLeft = Math.abs(up - corner);
  const toUp = Math.abs(left - corner);
  const toCorner = Math.abs(left + up - 2 * corner);
  if (toLeft <= toUp && toLeft <= toCorner) return left;
  return toUp <= toCorner ? up : corner;
}

/** @param {number} width @param {number} height @param {boolean} alpha */
function header(width, height, alpha) {
  const data = new DataView(new ArrayBuffer(13));
  data.setUint32(0, width);
  data.setUint32(4, height);
  data.setUint8(8, 8);
  data.setUint8(9, alpha ? 6 : 2);
  return new Uint8Array(data.buffer);
}

/** @param {string} name @param {Uint8Array} data */
function chunk(name, data) {
  const made = new Uint8Array(12 + data.length);
  const view = new DataView(made.buffer);
  view.setUint32(0, data.length);
  made.set(new TextEncoder().encode(name), 4);
  made.set(data, 8);
  let crc = 0xffffffff;
  for (let i = 4; i < 8 + data.length; i++) crc = CRC[(crc ^ made[i]) & 0xff] ^ (crc >>> 8);
  view.setUint32(8 + data.length, ~crc);
  return made;
}
