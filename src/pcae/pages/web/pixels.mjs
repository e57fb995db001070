// Pictures as pcae reads them: the part that is looked at, and torch's antialiased bicubic filter on 8 bits, to the bit.

const STRIP = 1 << 22; // pixels of a picture that are read at once
// whether turning a JPEG upright, by EXIF's orientation, makes its left the right and its top the bottom of what is stored
const MIRRORED = { 2: [1, 0], 3: [1, 1], 4: [0, 1], 6: [1, 0], 7: [1, 1], 8: [0, 1] };

/** A number at the nearest whole one, halves at the even one, as Python does. */
export function roundEven(value) {
  const below = Math.floor(value), rest = value - below;
  return rest < 0.5 || (rest === 0.5 && below % 2 === 0) ? below : below + 1;
}

/** Left, top, right and bottom of the middle of a picture that a model of target width x height sees. */
export function seenBox([width, height], target, cropPct) {
  const across = Math.min(width, height * target[0] / target[1]) * cropPct;
  const down = Math.min(height, width * target[1] / target[0]) * cropPct;
  const left = (width - across) / 2, top = (height - down) / 2;
  return [left, top, left + across, top + down];
}

/** Left, top, width and height in whole pixels of a box in a picture. */
export function wholePixels([left, top, right, bottom], [width, height]) {
  const x = Math.floor(left + 0.5), y = Math.floor(top + 0.5);
  const across = Math.max(roundEven(right - left), 1), down = Math.max(roundEven(bottom - top), 1);
  return [x, y, Math.min(x + across, width) - x, Math.min(y + down, height) - y];
}

/**
 * How a picture is read: `times` smaller, as decoders do with JPEGs where the part is then still twice as large as
 * wanted, and which part of that. across, down: where the first of its cells begin, to the left of the picture and above.
 */
export function planOf([width, height], target, cropPct, orientation) {
  const box = seenBox([width, height], target, cropPct);
  const most = Math.min((box[2] - box[0]) / target[0], (box[3] - box[1]) / target[1]) / 2;
  const times = orientation ? Math.max(...[1, 2, 4, 8].filter(each => each <= Math.max(most, 1))) : 1;
  const [mirrored, turned] = MIRRORED[orientation] ?? [0, 0], beyond = side => (times - side % times) % times;
  const [across, down] = [mirrored * beyond(width), turned * beyond(height)];
  const moved = box.map((side, index) => (side + (index % 2 ? down : across)) / times);
  return { times, across, down, part: wholePixels(moved, [Math.ceil(width / times), Math.ceil(height / times)]) };
}

/** EXIF's orientation of a JPEG, 1 to 8, by its first bytes; 0 for other files. */
export function orientationOf(bytes) {
  if (bytes[0] !== 0xff || bytes[1] !== 0xd8) return 0;
  try {
    return saidOrientation(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  } catch (error) {
    if (error instanceof RangeError) return 1; // the file ends, or points beyond its end
    throw error;
  }
}

function saidOrientation(view) {
  for (let at = 2; view.getUint8(at) === 0xff && view.getUint8(at + 1) !== 0xda; at += 2 + view.getUint16(at + 2)) {
    if (view.getUint8(at + 1) !== 0xe1 || view.getUint32(at + 4) !== 0x45786966) continue;
    const start = at + 10, little = view.getUint8(start) === 0x49, first = start + view.getUint32(start + 4, little);
    for (let entry = first + 2; entry < first + 2 + 12 * view.getUint16(first, little); entry += 12) {
      const found = view.getUint16(entry + 8, little);
      if (view.getUint16(entry, little) === 0x0112 && found >= 1 && found <= 8) return found;
    }
  }
  return 1;
}

function cubic(x) {
  const a = -0.5, at = Math.abs(x);
  if (at < 1) return ((a + 2) * at - (a + 3)) * at * at + 1;
  return at < 2 ? (((at - 5) * at + 8) * at - 4) * a : 0;
}

/** For each new pixel the first old one that counts and the shares of those from there on, whole numbers of 2 ** -bits. */
export function filterOf(from, to) {
  const scale = from / to, stretch = Math.max(scale, 1), support = 2 * stretch;
  const spans = [];
  for (let place = 0; place < to; place++) {
    const centre = scale * (place + 0.5);
    const first = Math.max(Math.trunc(centre - support + 0.5), 0);
    const count = Math.min(Math.trunc(centre + support + 0.5), from) - first;
    const shares = Array.from({ length: count }, (_, index) => cubic((index + first - centre + 0.5) * (1 / stretch)));
    const total = shares.reduce((sum, share) => sum + share, 0);
    spans.push({ first, shares: shares.map(share => share / total) });
  }
  const most = Math.max(...spans.map(({ shares }) => Math.max(...shares)));
  let bits = 0;
  while (bits < 22 && Math.trunc(0.5 + most * 2 ** (bits + 1)) < 1 << 15) bits++;
  const whole = share => Math.trunc(share * 2 ** bits + (share < 0 ? -0.5 : 0.5));
  return { bits, spans: spans.map(({ first, shares }) => ({ first, shares: Int32Array.from(shares, whole) })) };
}

/** Sums along one axis of bytes, rounded and held within 0 to 255. Axes: outer x length x inner, length becomes `to`. */
export function resizeAxis(bytes, outer, from, inner, to) {
  if (from === to) return bytes;
  const { bits, spans } = filterOf(from, to), half = 1 << (bits - 1);
  const made = new Uint8ClampedArray(outer * to * inner);
  for (let row = 0; row < outer; row++) {
    for (let place = 0; place < to; place++) {
      const { first, shares } = spans[place];
      for (let at = 0; at < inner; at++) {
        let sum = half, read = (row * from + first) * inner + at;
        for (let index = 0; index < shares.length; index++, read += inner) sum += bytes[read] * shares[index];
        made[(row * to + place) * inner + at] = sum >> bits;
      }
    }
  }
  return made;
}

/** Height x width x channels out of red, green, blue and opacity; gray is Pillow's sum of the three. */
export function channelsOf(rgba, channels) {
  const made = new Uint8ClampedArray(rgba.length / 4 * channels);
  for (let read = 0, write = 0; read < rgba.length; read += 4) {
    const red = rgba[read], green = rgba[read + 1], blue = rgba[read + 2];
    if (channels === 1) {
      made[write++] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
    } else {
      made[write++] = red;
      made[write++] = green;
      made[write++] = blue;
    }
  }
  return made;
}

/** Some rows of a picture on white, as red, green, blue and opacity. */
function rowsOf(bitmap, left, top, width, height) {
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("no canvas of this size can be had");
  context.imageSmoothingEnabled = false;
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, left, top, width, height, 0, 0, width, height);
  return context.getImageData(0, 0, width, height).data;
}

/** Means of cells of times x times pixels, of rows that begin at `top`; beyond the picture its last pixels go on. */
function smaller(bitmap, { times, across, down, part: [left, , width] }, top, rows) {
  const clamp = (at, most) => Math.min(Math.max(at, 0), most - 1);
  const x = left * times - across, y = top * times - down;
  const [x0, x1] = [clamp(x, bitmap.width), clamp(x + width * times - 1, bitmap.width)];
  const [y0, y1] = [clamp(y, bitmap.height), clamp(y + rows * times - 1, bitmap.height)];
  const wide = x1 - x0 + 1, read = rowsOf(bitmap, x0, y0, wide, y1 - y0 + 1);
  if (times === 1) return read;
  const sums = new Uint32Array(rows * width * 4), bits = 2 * Math.log2(times), half = 1 << (bits - 1);
  for (let row = 0; row < rows * times; row++) {
    const line = (clamp(y + row, bitmap.height) - y0) * wide, into = Math.floor(row / times) * width;
    for (let column = 0; column < width * times; column++) {
      const from = (line + clamp(x + column, bitmap.width) - x0) * 4, to = (into + Math.floor(column / times)) * 4;
      for (let band = 0; band < 3; band++) sums[to + band] += read[from + band];
    }
  }
  return Uint8ClampedArray.from(sums, sum => (sum + half) >> bits);
}

/** What a model sees of a picture: bytes of height x width x channels. orientation: of a JPEG, 0 for other files. */
export function pixelsOf(bitmap, { image_size: [height, width], channels, crop_pct: cropPct }, orientation = 0) {
  const plan = planOf([bitmap.width, bitmap.height], [width, height], cropPct, orientation);
  const [, top, across, down] = plan.part, step = Math.max(1, Math.floor(STRIP / across / plan.times ** 2));
  const narrow = new Uint8ClampedArray(down * width * channels);
  for (let row = 0; row < down; row += step) {
    const rows = Math.min(step, down - row);
    const strip = channelsOf(smaller(bitmap, plan, top + row, rows), channels);
    narrow.set(resizeAxis(strip, rows, across, channels, width), row * width * channels);
  }
  return resizeAxis(narrow, 1, down, width * channels, height);
}

/** The same bytes as channels x height x width, which graphs take. */
export function channelsFirst(pixels, channels) {
  const places = pixels.length / channels, made = new Uint8Array(pixels.length);
  for (let place = 0; place < places; place++) {
    for (let channel = 0; channel < channels; channel++) made[channel * places + place] = pixels[place * channels + channel];
  }
  return made;
}
