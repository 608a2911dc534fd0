// Add noise, and project back.

// Samples among which a projection finds its starts, and their images.
function drawBank(generator, label) {
  const rows = generator.sample(96, label);
  return { rows, images: generator.images(rows) };
}

class Descent {
  // Minimises |M (G(z) - noisy)|^2 / (2 sigma^2) + |z|^2 / 2 from several starts at once, with Adam
  // (Kingma & Ba 2015): the most probable latent, as in Bora et al. 2017, "CSGM". M leaves out the
  // pixels of which `isSeen` is false. Of a conditional generator all starts have the class of
  // `label`; where that is not given, each has its own.
  static STARTS = 4;
  static STEPS = 120;

  constructor(
    generator, noisy, sigma, label, bank = drawBank(generator, label), isSeen = () => true,
  ) {
    const seen = noisy.map((_, i) => isSeen(i)); // 1 or 0
    Object.assign(this, { generator, noisy, sigma, seen, step: 0 });
    const nearest = [...Array(bank.rows.length / generator.latent).keys()]
      .map((n) => [this.distance(bank.images, n), n])
      .sort((a, b) => a[0] - b[0])
      .filter(this.isFirstOfItsClass(bank.rows, label))
      .slice(0, Descent.STARTS);
    this.latents = new Float32Array(Descent.STARTS * generator.latent);
    nearest.forEach(([, n], k) => this.latents.set(generator.row(bank.rows, n), k * generator.latent));
    this.mean = new Float32Array(this.latents.length);
    this.square = new Float32Array(this.latents.length);
    this.best = null;
    this.label = null; // the class of the best
  }

  isFirstOfItsClass(rows, label) {
    const { generator } = this;
    const guesses = generator.classes.length >= Descent.STARTS && label === undefined;
    const seen = new Set();
    return ([, n]) => {
      const found = guesses ? classOf(generator, generator.row(rows, n)) : n;
      return !seen.has(found) && seen.add(found);
    };
  }

  distance(images, n) {
    let sum = 0;
    for (let i = 0; i < this.noisy.length; i++) {
      sum += this.seen[i] * (images[n * this.noisy.length + i] - this.noisy[i]) ** 2;
    }
    return sum;
  }

  advance() {
    const { generator, latents } = this;
    const results = generator.results(latents);
    const images = results[results.length - 1];
    // Pixels lie in [-1, 1], sigma is given on [0, 1]: hence 2 sigma.
    const weight = 1 / (2 * this.sigma) ** 2;
    const costs = [...Array(Descent.STARTS).keys()].map((n) => {
      const latent = generator.row(latents, n);
      return (weight * this.distance(images, n)) / 2 + dot(latent, latent) / 2;
    });
    const first = costs.indexOf(Math.min(...costs));
    this.best = generator.image(images, first);
    this.label = classOf(generator, generator.row(latents, first));
    const atPixels = images.map((v, i) => {
      const place = i % this.noisy.length;
      return weight * this.seen[place] * (v - this.noisy[place]);
    });
    const gradient = generator.gradient(results, atPixels);
    const rate = 0.15 * 0.5 * (1 + Math.cos((Math.PI * this.step) / Descent.STEPS));
    this.step += 1;
    for (let i = 0; i < latents.length; i++) {
      if (i % generator.latent >= generator.noise) continue; // the class stays
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

// Of image against clean, on [0, 1], over the pixels of which `counts` is true.
function squaredError(image, clean, counts = () => true) {
  let [sum, count] = [0, 0];
  image.forEach((v, i) => {
    if (!counts(i)) return;
    sum += ((v - clean[i]) / 2) ** 2;
    count += 1;
  });
  return sum / count;
}

const decibels = (error) => `${(-10 * Math.log10(error)).toFixed(1)} dB`;

function startRestoring(generator) {
  const sigma = find("sigma");
  const button = find("project");
  const known = find("class-known"); // only on the page of a conditional generator
  let [clean, label, noise, noisy, descent, errors] = [null, null, null, null, null, []];

  function clear() {
    [descent, errors, played.restored] = [null, [], false];
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
    played.clean = seed = from;
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
    const highest = Math.max(...errors);
    find("descent").setAttribute(
      "points",
      errors.map((e, i) => `${(100 * i) / (Descent.STEPS - 1)},${100 - (100 * e) / highest}`).join(" "),
    );
    find("descent-note").textContent =
      `Error against the clean image, which the descent never sees: step ${descent.step} of ${Descent.STEPS}`;
  }

  function run(mine) {
    if (descent !== mine) return; // something else was asked for meanwhile
    mine.advance();
    show();
    if (mine.finished) button.textContent = "Restore again";
    else requestAnimationFrame(() => run(mine));
  }

  button.addEventListener("click", () => {
    clear();
    descent = new Descent(generator, noisy, +sigma.value, known?.checked ? label : undefined);
    played.restored = true;
    run(descent);
  });
  sigma.addEventListener("input", addNoise);
  known?.addEventListener("change", clear);
  find("new-clean").addEventListener("click", () => newImage());
  newImage(played.clean);
}
