// The generator, forwards and backwards, without a library: a list of operations on rows of numbers.
// lab/report/web_export.py writes the list and says what each operation is.

function decodeWeights(text) {
  // float16, little-endian, base64 -> Float32Array; a table has the 65,536 values there are.
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

const IMAGES_AT_ONCE = 4; // each weight is fetched once for four images

function linearOfOne(x, [weight, bias]) {
  // A single image: four sums that do not wait for each other, where one sum would wait for itself.
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
  const wide = bias.length;
  const narrow = x.length / count;
  const y = new Float32Array(count * wide);
  for (let n = 0; n < count; n += IMAGES_AT_ONCE) {
    // Past the last image the last is computed again: cheaper than asking in the inner loop.
    const [a, b, c, d] = [0, 1, 2, 3].map((i) => Math.min(n + i, count - 1));
    const [xa, xb, xc, xd] = [a, b, c, d].map((i) => x.subarray(i * narrow, (i + 1) * narrow));
    for (let o = 0; o < wide; o++) {
      const row = o * narrow;
      let [sa, sb, sc, sd] = [0, 0, 0, 0];
      for (let i = 0; i < narrow; i++) {
        const w = weight[row + i];
        sa += w * xa[i];
        sb += w * xb[i];
        sc += w * xc[i];
        sd += w * xd[i];
      }
      y[a * wide + o] = sa + bias[o];
      y[b * wide + o] = sb + bias[o];
      y[c * wide + o] = sc + bias[o];
      y[d * wide + o] = sd + bias[o];
    }
  }
  return y;
}

function linearBackward(dy, x, [weight, bias], count) {
  const wide = bias.length;
  const narrow = x.length / count;
  // Rows up to a whole number of fours; those past the last image are never read.
  const dx = new Float32Array(Math.ceil(count / IMAGES_AT_ONCE) * IMAGES_AT_ONCE * narrow);
  for (let n = 0; n < count; n += IMAGES_AT_ONCE) {
    const [a, b, c, d] = [0, 1, 2, 3].map((i) => Math.min(n + i, count - 1) * wide);
    const [da, db, dc, dd] = [0, 1, 2, 3].map((i) =>
      dx.subarray((n + i) * narrow, (n + i + 1) * narrow),
    );
    for (let o = 0; o < wide; o++) {
      const row = o * narrow;
      const [ga, gb, gc, gd] = [dy[a + o], dy[b + o], dy[c + o], dy[d + o]];
      for (let i = 0; i < narrow; i++) {
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

// The transposed convolution of DCGAN, kernel 4 x 4, stride 2: maps of height x width become maps of
// twice both; with stride 1, of the same. What one number of a map adds to the next maps is 4 x 4 of
// them; a margin around these saves asking where the maps end.
function sizesOfMaps({ height, width, stride, weights: [, bias] }) {
  const [tall, wide] = [stride * (height - 1) + 4, stride * (width - 1) + 4]; // with the margin
  const size = bias.length * height * width * stride * stride; // numbers of an image's next maps
  return { tall, wide, size };
}

// visit(place in the next maps, place in them with their margin, numbers) for every row.
function eachRowOfMaps(step, visit) {
  const { tall, wide } = sizesOfMaps(step);
  const [rows, numbers] = [step.stride * step.height, step.stride * step.width];
  for (let row = 0; row < step.weights[1].length * rows; row++) {
    const map = Math.floor(row / rows);
    visit(row * numbers, (map * tall + (row % rows) + 1) * wide + 1, numbers);
  }
}

function transposed(x, step, count) {
  const { height, width, stride, weights: [weight, bias] } = step;
  const { tall, wide, size } = sizesOfMaps(step);
  const narrow = x.length / count;
  const maps = narrow / (height * width);
  const y = new Float32Array(count * size);
  for (let n = 0; n < count; n++) {
    const padded = new Float32Array(bias.length * tall * wide);
    bias.forEach((start, o) => padded.fill(start, o * tall * wide, (o + 1) * tall * wide));
    for (let pair = 0; pair < maps * bias.length; pair++) {
      const from = n * narrow + Math.floor(pair / bias.length) * height * width;
      const to = (pair % bias.length) * tall * wide;
      for (let k = 0; k < 4; k++) {
        // One row of the kernel at a time, over all rows of the map.
        const at = pair * 16 + 4 * k;
        const [ka, kb, kc, kd] = [weight[at], weight[at + 1], weight[at + 2], weight[at + 3]];
        for (let h = 0; h < height; h++) {
          let place = to + (stride * h + k) * wide;
          for (let w = from + h * width; w < from + (h + 1) * width; w++, place += stride) {
            const v = x[w];
            padded[place] += v * ka;
            padded[place + 1] += v * kb;
            padded[place + 2] += v * kc;
            padded[place + 3] += v * kd;
          }
        }
      }
    }
    eachRowOfMaps(step, (plain, inner, numbers) => {
      y.set(padded.subarray(inner, inner + numbers), n * size + plain);
    });
  }
  return y;
}

function transposedBackward(dy, x, step, count) {
  const { height, width, stride, weights: [weight, bias] } = step;
  const { tall, wide, size } = sizesOfMaps(step);
  const narrow = x.length / count;
  const maps = narrow / (height * width);
  const dx = new Float32Array(x.length);
  for (let n = 0; n < count; n++) {
    const padded = new Float32Array(bias.length * tall * wide);
    eachRowOfMaps(step, (plain, inner, numbers) => {
      padded.set(dy.subarray(n * size + plain, n * size + plain + numbers), inner);
    });
    for (let pair = 0; pair < maps * bias.length; pair++) {
      const to = n * narrow + Math.floor(pair / bias.length) * height * width;
      const from = (pair % bias.length) * tall * wide;
      for (let k = 0; k < 4; k++) {
        const at = pair * 16 + 4 * k;
        const [ka, kb, kc, kd] = [weight[at], weight[at + 1], weight[at + 2], weight[at + 3]];
        for (let h = 0; h < height; h++) {
          let place = from + (stride * h + k) * wide;
          for (let w = to + h * width; w < to + (h + 1) * width; w++, place += stride) {
            dx[w] +=
              padded[place] * ka +
              padded[place + 1] * kb +
              padded[place + 2] * kc +
              padded[place + 3] * kd;
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
    (step, dy, x) => dy.map((g, i) => g * (1 - Math.tanh(x[i]) ** 2)), // as layers.Clip says
  ],
};

class Generator {
  constructor(facts, weights) {
    this.noise = facts.latent; // random numbers; after them a row has a number for each class
    this.classes = facts.classes || []; // names; none of an unconditional generator
    this.latent = this.noise + this.classes.length;
    this.shape = facts.shape; // channels, height, width
    this.pixels = facts.shape.reduce((product, side) => product * side, 1);
    this.operations = buildOperations(facts.operations, weights);
  }

  // Row n of several, and image n of several.
  row(rows, n) {
    return rows.subarray(n * this.latent, (n + 1) * this.latent);
  }

  image(images, n) {
    return images.subarray(n * this.pixels, (n + 1) * this.pixels);
  }

  // Rows of random numbers, each of the class of that label; without one, of any class.
  sample(count, label) {
    const rows = new Float32Array(count * this.latent);
    for (let n = 0; n < count; n++) {
      rows.set(normals(this.noise), n * this.latent);
      if (this.classes.length) {
        const any = Math.floor(uniform() * this.classes.length);
        rows[n * this.latent + this.noise + (label ?? any)] = 1;
      }
    }
    return rows;
  }

  // Along the sphere from one row to another, and straight from class to class.
  between(a, b, share) {
    const row = a.map((v, i) => v + share * (b[i] - v));
    row.set(slerp(a.subarray(0, this.noise), b.subarray(0, this.noise), share));
    return row;
  }

  // Float32Array of count latents -> every result, the last one the pixels in [-1, 1], of each
  // image channel after channel.
  results(latents) {
    const count = latents.length / this.latent;
    const results = [latents];
    for (const step of this.operations) {
      results.push(KINDS[step.kind][0](step, results[results.length - 1], count));
    }
    return results;
  }

  images(latents) {
    return this.results(latents)[this.operations.length];
  }

  // The gradient at the latents, from the gradient at the pixels, by the chain rule.
  gradient(results, atPixels) {
    const count = results[0].length / this.latent;
    return this.operations.reduceRight(
      (dy, step, place) =>
        KINDS[step.kind][1](step, dy, results[place], results[place + 1], count),
      atPixels,
    );
  }
}
