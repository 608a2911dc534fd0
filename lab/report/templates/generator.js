// Forward and backward pass of the generator, as a list of operations without a library.
// lab/report/web_export.py exports the list and documents the operations.

function decodeWeights(text) {
  // base64 of little-endian float16 -> Float32Array, through a table of all 65,536 values.
  const values = new Float32Array(65536);
  for (let code = 0; code < 65536; code++) {
    const exponent = (code >> 10) & 31;
    const fraction = code & 1023;
    const size = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24;
    values[code] = code >> 15 ? -size : size;
  }
  const bytes = atob(text);
  const weights = new Float32Array(bytes.length / 2);
  for (let i = 0; i < weights.length; i++) {
    weights[i] = values[bytes.charCodeAt(2 * i) | (bytes.charCodeAt(2 * i + 1) << 8)];
  }
  return weights;
}

function buildOperations(list, weights) {
  let offset = 0;
  return list.map((operation) => ({
    ...operation,
    weights: operation.shapes.map((shape) => {
      const size = shape.reduce((product, side) => product * side, 1);
      offset += size;
      return weights.subarray(offset - size, offset);
    }),
  }));
}

const IMAGES_AT_ONCE = 4; // a weight is loaded once for so many images

function linearOfOne(x, [weight, bias]) {
  // For a single image: four independent sums, which the processor can compute in parallel.
  const most = x.length - (x.length % 4);
  return bias.map((start, o) => {
    const row = o * x.length;
    let [sa, sb, sc, sd] = [start, 0, 0, 0];
    for (let i = 0; i < most; i += 4) {
      sa += weight[row + i] * x[i];
      sb += weight[row + i + 1] * x[i + 1];
      sc += weight[row + i + 2] * x[i + 2];
      sd += weight[row + i + 3] * x[i + 3];
    }
    for (let i = most; i < x.length; i++) sa += weight[row + i] * x[i];
    return sa + sb + sc + sd;
  });
}

function linear(x, [weight, bias], count) {
  if (count === 1) return linearOfOne(x, [weight, bias]);
  const outputSize = bias.length;
  const inputSize = x.length / count;
  const y = new Float32Array(count * outputSize);
  for (let n = 0; n < count; n += IMAGES_AT_ONCE) {
    // If fewer than four images are left, the last one is computed repeatedly.
    const [a, b, c, d] = [0, 1, 2, 3].map((i) => Math.min(n + i, count - 1));
    const [xa, xb, xc, xd] = [a, b, c, d].map((i) => x.subarray(i * inputSize, (i + 1) * inputSize));
    for (let o = 0; o < outputSize; o++) {
      const row = o * inputSize;
      let [sa, sb, sc, sd] = [0, 0, 0, 0];
      for (let i = 0; i < inputSize; i++) {
        const w = weight[row + i];
        sa += w * xa[i];
        sb += w * xb[i];
        sc += w * xc[i];
        sd += w * xd[i];
      }
      y[a * outputSize + o] = sa + bias[o];
      y[b * outputSize + o] = sb + bias[o];
      y[c * outputSize + o] = sc + bias[o];
      y[d * outputSize + o] = sd + bias[o];
    }
  }
  return y;
}

function linearBackward(dy, x, [weight, bias], count) {
  const outputSize = bias.length;
  const inputSize = x.length / count;
  // Padded to a multiple of four images; the padding is discarded.
  const dx = new Float32Array(Math.ceil(count / IMAGES_AT_ONCE) * IMAGES_AT_ONCE * inputSize);
  for (let n = 0; n < count; n += IMAGES_AT_ONCE) {
    const [a, b, c, d] = [0, 1, 2, 3].map((i) => Math.min(n + i, count - 1) * outputSize);
    const [da, db, dc, dd] = [0, 1, 2, 3].map((i) =>
      dx.subarray((n + i) * inputSize, (n + i + 1) * inputSize),
    );
    for (let o = 0; o < outputSize; o++) {
      const row = o * inputSize;
      const [ga, gb, gc, gd] = [dy[a + o], dy[b + o], dy[c + o], dy[d + o]];
      for (let i = 0; i < inputSize; i++) {
        const w = weight[row + i];
        da[i] += ga * w;
        db[i] += gb * w;
        dc[i] += gc * w;
        dd[i] += gd * w;
      }
    }
  }
  return dx.subarray(0, x.length);
}

// The transposed convolution of DCGAN, with a 4 x 4 kernel: stride 2 doubles height and width,
// stride 1 keeps them. Each input pixel is added to 4 x 4 output pixels; the output is computed with
// a margin, so that the inner loops need no bounds checks.
function outputSizes({ height, width, stride, weights: [, bias] }) {
  const paddedWidth = stride * (width - 1) + 4;
  return {
    paddedWidth,
    paddedMap: (stride * (height - 1) + 4) * paddedWidth, // pixels of one output map with margin
    outputSize: bias.length * height * width * stride * stride, // all output maps without margin
  };
}

// visit(index without margin, index with margin, length) for every row of every output map.
function forEachOutputRow(step, visit) {
  const { paddedWidth, paddedMap } = outputSizes(step);
  const [rows, length] = [step.stride * step.height, step.stride * step.width];
  for (let row = 0; row < step.weights[1].length * rows; row++) {
    const map = Math.floor(row / rows);
    visit(row * length, map * paddedMap + ((row % rows) + 1) * paddedWidth + 1, length);
  }
}

function transposed(x, step, count) {
  const { height, width, stride, weights: [weight, bias] } = step;
  const { paddedWidth, paddedMap, outputSize } = outputSizes(step);
  const inputSize = x.length / count;
  const inputMaps = inputSize / (height * width);
  const y = new Float32Array(count * outputSize);
  for (let n = 0; n < count; n++) {
    const padded = new Float32Array(bias.length * paddedMap);
    bias.forEach((start, o) => padded.fill(start, o * paddedMap, (o + 1) * paddedMap));
    for (let pair = 0; pair < inputMaps * bias.length; pair++) {
      const from = n * inputSize + Math.floor(pair / bias.length) * height * width;
      const to = (pair % bias.length) * paddedMap;
      for (let k = 0; k < 4; k++) {
        // One kernel row at a time, for all pixels of the map.
        const at = pair * 16 + 4 * k;
        const [ka, kb, kc, kd] = [weight[at], weight[at + 1], weight[at + 2], weight[at + 3]];
        for (let h = 0; h < height; h++) {
          let o = to + (stride * h + k) * paddedWidth;
          for (let i = from + h * width; i < from + (h + 1) * width; i++, o += stride) {
            const v = x[i];
            padded[o] += v * ka;
            padded[o + 1] += v * kb;
            padded[o + 2] += v * kc;
            padded[o + 3] += v * kd;
          }
        }
      }
    }
    forEachOutputRow(step, (index, paddedIndex, length) => {
      y.set(padded.subarray(paddedIndex, paddedIndex + length), n * outputSize + index);
    });
  }
  return y;
}

function transposedBackward(dy, x, step, count) {
  const { height, width, stride, weights: [weight, bias] } = step;
  const { paddedWidth, paddedMap, outputSize } = outputSizes(step);
  const inputSize = x.length / count;
  const inputMaps = inputSize / (height * width);
  const dx = new Float32Array(x.length);
  for (let n = 0; n < count; n++) {
    const padded = new Float32Array(bias.length * paddedMap);
    forEachOutputRow(step, (index, paddedIndex, length) => {
      const start = n * outputSize + index;
      padded.set(dy.subarray(start, start + length), paddedIndex);
    });
    for (let pair = 0; pair < inputMaps * bias.length; pair++) {
      const to = n * inputSize + Math.floor(pair / bias.length) * height * width;
      const from = (pair % bias.length) * paddedMap;
      for (let k = 0; k < 4; k++) {
        const at = pair * 16 + 4 * k;
        const [ka, kb, kc, kd] = [weight[at], weight[at + 1], weight[at + 2], weight[at + 3]];
        for (let h = 0; h < height; h++) {
          let o = from + (stride * h + k) * paddedWidth;
          for (let i = to + h * width; i < to + (h + 1) * width; i++, o += stride) {
            dx[i] += padded[o] * ka + padded[o + 1] * kb + padded[o + 2] * kc + padded[o + 3] * kd;
          }
        }
      }
    }
  }
  return dx;
}

// kind -> [forward(operation, x, count) -> y, backward(operation, dy, x, y, count) -> dx]
const KINDS = {
  linear: [
    (step, x, count) => linear(x, step.weights, count),
    (step, dy, x, y, count) => linearBackward(dy, x, step.weights, count),
  ],
  transposed: [
    (step, x, count) => transposed(x, step, count),
    (step, dy, x, y, count) => transposedBackward(dy, x, step, count),
  ],
  affine: [
    ({ weights: [scale, shift] }, x) =>
      x.map((v, i) => v * scale[i % scale.length] + shift[i % scale.length]),
    ({ weights: [scale] }, dy) => dy.map((g, i) => g * scale[i % scale.length]),
  ],
  leaky_relu: [
    ({ slope }, x) => x.map((v) => (v > 0 ? v : slope * v)),
    ({ slope }, dy, x) => dy.map((g, i) => (x[i] > 0 ? g : slope * g)),
  ],
  tanh: [
    (step, x) => x.map(Math.tanh),
    (step, dy, x, y) => dy.map((g, i) => g * (1 - y[i] * y[i])),
  ],
  clip: [
    (step, x) => x.map((v) => Math.max(-1, Math.min(1, v))),
    (step, dy, x) => dy.map((g, i) => g * (1 - Math.tanh(x[i]) ** 2)), // see layers.Clip
  ],
};

class Generator {
  constructor(facts, weights) {
    // An input row is a latent, followed by a weight for each class of a conditional generator.
    this.latentSize = facts.latent;
    this.classes = facts.classes || []; // names
    this.rowSize = this.latentSize + this.classes.length;
    this.shape = facts.shape; // channels, height, width
    this.pixels = facts.shape.reduce((product, side) => product * side, 1);
    this.operations = buildOperations(facts.operations, weights);
  }

  // The n-th of several input rows, and of several images.
  row(rows, n) {
    return rows.subarray(n * this.rowSize, (n + 1) * this.rowSize);
  }

  image(images, n) {
    return images.subarray(n * this.pixels, (n + 1) * this.pixels);
  }

  // `count` random input rows of class `label`, or of random classes.
  sample(count, label) {
    const rows = new Float32Array(count * this.rowSize);
    for (let n = 0; n < count; n++) {
      rows.set(normals(this.latentSize), n * this.rowSize);
      if (this.classes.length) {
        const random = Math.floor(uniform() * this.classes.length);
        rows[n * this.rowSize + this.latentSize + (label ?? random)] = 1;
      }
    }
    return rows;
  }

  // Spherical interpolation of the latents, linear interpolation of the classes.
  between(a, b, share) {
    const row = a.map((v, i) => v + share * (b[i] - v));
    row.set(slerp(a.subarray(0, this.latentSize), b.subarray(0, this.latentSize), share));
    return row;
  }

  // Input rows -> the results of all operations. The last are pixels (N, C, H, W) in [-1, 1].
  results(rows) {
    const count = rows.length / this.rowSize;
    const results = [rows];
    for (const step of this.operations) {
      results.push(KINDS[step.kind][0](step, results[results.length - 1], count));
    }
    return results;
  }

  images(rows) {
    return this.results(rows)[this.operations.length];
  }

  // Backpropagation: the gradient of the input rows from the gradient of the pixels.
  gradient(results, pixelGradient) {
    const count = results[0].length / this.rowSize;
    return this.operations.reduceRight(
      (dy, step, i) => KINDS[step.kind][1](step, dy, results[i], results[i + 1], count),
      pixelGradient,
    );
  }
}
