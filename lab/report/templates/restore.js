// Denoising by projection onto the generator.

// Random samples and their images; the nearest ones initialise a projection.
function drawCandidates(generator, label) {
  const rows = generator.sample(96, label);
  return { rows, images: generator.images(rows) };
}

class Descent {
  // Minimises |M (G(z) - noisy)|^2 / (2 sigma^2) + |z|^2 / 2 with Adam (Kingma & Ba 2015), from
  // several initial latents in parallel: the most probable latent, as in Bora et al. 2017, "CSGM".
  // The mask M selects the pixels for which `isVisible` is true. With a conditional generator all
  // initial latents have class `label`; without a label, different classes.
  static STARTS = 4;
  static STEPS = 120;

  constructor(
    generator, noisy, sigma, label, candidates = drawCandidates(generator, label), isVisible = () => true,
  ) {
    const mask = noisy.map((_, i) => isVisible(i)); // 1 or 0
    Object.assign(this, { generator, noisy, sigma, mask, step: 0 });
    const nearest = [...Array(candidates.rows.length / generator.rowSize).keys()]
      .map((n) => [this.distance(candidates.images, n), n])
      .sort((a, b) => a[0] - b[0])
      .filter(this.isFirstOfItsClass(candidates.rows, label))
      .slice(0, Descent.STARTS);
    this.latents = new Float32Array(Descent.STARTS * generator.rowSize);
    nearest.forEach(([, n], k) => this.latents.set(generator.row(candidates.rows, n), k * generator.rowSize));
    this.mean = new Float32Array(this.latents.length);
    this.square = new Float32Array(this.latents.length);
    this.best = null;
    this.label = null; // the class of the best image
  }

  isFirstOfItsClass(rows, label) {
    const { generator } = this;
    const isUnknown = generator.classes.length >= Descent.STARTS && label === undefined;
    const used = new Set();
    return ([, n]) => {
      const group = isUnknown ? classOf(generator, generator.row(rows, n)) : n;
      return !used.has(group) && used.add(group);
    };
  }

  distance(images, n) {
    let sum = 0;
    for (let i = 0; i < this.noisy.length; i++) {
      sum += this.mask[i] * (images[n * this.noisy.length + i] - this.noisy[i]) ** 2;
    }
    return sum;
  }

  advance() {
    const { generator, latents } = this;
    const results = generator.results(latents);
    const images = results[results.length - 1];
    // 2 sigma, because pixels are in [-1, 1] and sigma is on [0, 1].
    const weight = 1 / (2 * this.sigma) ** 2;
    const costs = [...Array(Descent.STARTS).keys()].map((n) => {
      const latent = generator.row(latents, n);
      return (weight * this.distance(images, n)) / 2 + dot(latent, latent) / 2;
    });
    const best = costs.indexOf(Math.min(...costs));
    this.best = generator.image(images, best);
    this.label = classOf(generator, generator.row(latents, best));
    const pixelGradient = images.map((v, i) => {
      const pixel = i % this.noisy.length;
      return weight * this.mask[pixel] * (v - this.noisy[pixel]);
    });
    const gradient = generator.gradient(results, pixelGradient);
    const rate = 0.15 * 0.5 * (1 + Math.cos((Math.PI * this.step) / Descent.STEPS));
    this.step += 1;
    for (let i = 0; i < latents.length; i++) {
      if (i % generator.rowSize >= generator.latentSize) continue; // the class does not change
      const g = gradient[i] + latents[i];
      this.mean[i] += 0.1 * (g - this.mean[i]);
      this.square[i] += 0.01 * (g * g - this.square[i]);
      const [forMean, forSquare] = [1 - 0.9 ** this.step, 1 - 0.99 ** this.step];
      latents[i] -= (rate * (this.mean[i] / forMean)) / (Math.sqrt(this.square[i] / forSquare) + 1e-8);
    }
  }

  get finished() {
    return this.step >= Descent.STEPS;
  }
}

// The mean squared error on [0, 1] over the pixels for which `isCounted` is true.
function squaredError(image, clean, isCounted = () => true) {
  let [sum, count] = [0, 0];
  image.forEach((v, i) => {
    if (!isCounted(i)) return;
    sum += ((v - clean[i]) / 2) ** 2;
    count += 1;
  });
  return sum / count;
}

const decibels = (error) => (error ? `${(-10 * Math.log10(error)).toFixed(1)} dB` : "∞ dB");

function startRestoring(generator) {
  const sigma = find("sigma");
  const button = find("project");
  const known = find("class-known"); // of a conditional generator only
  let [clean, label, noise, noisy, descent, errors] = [null, null, null, null, null, []];

  function clear() {
    [descent, errors, viewState.restored] = [null, [], false];
    find("descent").setAttribute("points", "");
    find("descent-note").textContent = "Error against the clean image, by step";
    find("psnr-restored").textContent = "";
    if (known) find("class-restored").textContent = "";
    const restored = find("restored");
    restored.getContext("2d").clearRect(0, 0, restored.width, restored.height);
    button.textContent = "Restore";
  }

  function addNoise() {
    clear();
    find("sigma-value").textContent = (+sigma.value).toFixed(2);
    noisy = clean.map((v, i) => v + 2 * sigma.value * noise[i]);
    draw(find("noisy"), noisy, generator.shape);
    find("psnr-noisy").textContent = decibels(squaredError(noisy, clean));
  }

  function newImage(from = seed) {
    viewState.clean = seed = from;
    const row = generator.sample(1);
    clean = generator.images(row);
    label = classOf(generator, row);
    if (known) find("class-clean").textContent = generator.classes[label];
    noise = normals(generator.pixels);
    draw(find("clean"), clean, generator.shape);
    addNoise();
  }

  function show() {
    draw(find("restored"), descent.best, generator.shape);
    const error = squaredError(descent.best, clean);
    find("psnr-restored").textContent = decibels(error);
    if (known) find("class-restored").textContent = generator.classes[descent.label];
    errors.push(Math.sqrt(error));
    const highest = Math.max(...errors) || 1;
    find("descent").setAttribute(
      "points",
      errors.map((e, i) => `${(100 * i) / (Descent.STEPS - 1)},${100 - (100 * e) / highest}`).join(" "),
    );
    find("descent-note").textContent =
      `Error against the clean image, which the optimisation does not use: step ${descent.step} of ${Descent.STEPS}`;
  }

  function run(current) {
    if (descent !== current) return; // another restoration was started
    current.advance();
    show();
    if (current.finished) button.textContent = "Restore again";
    else requestAnimationFrame(() => run(current));
  }

  button.addEventListener("click", () => {
    clear();
    descent = new Descent(generator, noisy, +sigma.value, known?.checked ? label : undefined);
    viewState.restored = true;
    run(descent);
  });
  sigma.addEventListener("input", addNoise);
  known?.addEventListener("change", clear);
  find("new-clean").addEventListener("click", () => newImage());
  newImage(viewState.clean);
}
