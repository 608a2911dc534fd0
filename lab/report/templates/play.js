// What one can do with the generator: steer a sample, walk between samples, restore a noisy one.

// ---- Chance, interpolation, drawing ----

function randomStream(seed) {
  // Uniform numbers in [0, 1) from a seed (mulberry32), so that a page opens the same each time.
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const uniform = randomStream(7);

function normals(count) {
  // Box and Muller 1958.
  return new Float32Array(count).map(
    () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}

const dot = (a, b) => a.reduce((sum, v, i) => sum + v * b[i], 0);

function slerp(a, b, share) {
  // Shoemake 1985; for latents: White 2016, "Sampling generative networks".
  const cosine = dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
  const angle = Math.acos(Math.max(-1, Math.min(1, cosine)));
  if (Math.sin(angle) < 1e-4) return a.map((v, i) => v + share * (b[i] - v));
  const [wa, wb] = [Math.sin((1 - share) * angle), Math.sin(share * angle)];
  return a.map((v, i) => (wa * v + wb * b[i]) / Math.sin(angle));
}

const level = (pixel) => Math.max(0, Math.min(255, Math.round((pixel + 1) * 127.5)));

// pixels: one image of shape [channels, height, width], grey or colour.
function draw(canvas, pixels, [channels, height, width], x = 0, y = 0) {
  const picture = new ImageData(width, height);
  const places = height * width;
  for (let i = 0; i < places; i++) {
    for (let band = 0; band < 3; band++) {
      picture.data[4 * i + band] = level(pixels[(band % channels) * places + i]);
    }
    picture.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(picture, x, y);
}

// ---- Steer a sample ----

function startSteering(generator, directions) {
  const sliders = all(".direction");
  const strip = find("strip");
  const MOST_KEPT = 24;
  const morph = find("morph"); // only on the page of a conditional generator
  const classRow = morph && new ClassRow(generator, ask);
  let base = null;
  let kept = 0;

  function steered() {
    const latent = base.slice();
    sliders.forEach((slider, k) => {
      const distance = +slider.value;
      slider.setAttribute("aria-valuetext", `${distance.toFixed(1)} standard deviations`);
      directions[k].forEach((v, i) => (latent[i] += distance * v));
    });
    return latent;
  }

  function show() {
    if (morph) {
      setClass(generator, base, +morph.value);
      find("morph-name").textContent = nameBetween(generator, +morph.value);
      morph.setAttribute("aria-valuetext", nameBetween(generator, +morph.value));
    }
    draw(find("sample"), generator.images(steered()), generator.shape);
  }

  function ask(label) {
    morph.value = label;
    show();
  }

  function take(latent) {
    base = latent.slice();
    for (const slider of sliders) slider.value = 0;
    if (morph) morph.value = classOf(generator, base);
    show();
    if (classRow) classRow.show(base);
  }

  function keep(latent) {
    const [button, canvas] = pictureButton(generator, () => take(latent));
    kept += 1;
    button.setAttribute("aria-label", `Bring sample ${kept} back`);
    draw(canvas, generator.images(latent), generator.shape);
    strip.prepend(button);
    if (strip.children.length > MOST_KEPT) strip.lastChild.remove();
  }

  function sample() {
    const wanted = find("wanted-class");
    const latent = generator.sample(1, wanted?.value ? +wanted.value : undefined);
    keep(latent);
    take(latent);
  }

  for (const slider of sliders) {
    slider.addEventListener("input", show);
    if (classRow) slider.addEventListener("change", () => classRow.show(steered()));
  }
  morph?.addEventListener("input", show);
  find("wanted-class")?.addEventListener("change", () => {
    for (let i = 0; i < 12; i++) sample();
  });
  find("new-sample").addEventListener("click", sample);
  find("centre").addEventListener("click", () => take(base));
  for (let i = 0; i < 16; i++) sample();
}

// ---- Walk between four corners ----

function startWalk(generator) {
  const SIDE = 8; // images a side
  const STEPS = 4 * (SIDE - 1); // of the arrow keys from one side to the other
  const [, height, width] = generator.shape;
  const area = find("walk-area");
  let corners = [];
  let place = [0.5, 0.5]; // from left, from top

  const between = (u, v) =>
    generator.between(
      generator.between(corners[0], corners[1], u),
      generator.between(corners[2], corners[3], u),
      v,
    );

  function fill() {
    const latents = new Float32Array(SIDE * SIDE * generator.latent);
    for (let i = 0; i < SIDE * SIDE; i++) {
      const [u, v] = [(i % SIDE) / (SIDE - 1), Math.floor(i / SIDE) / (SIDE - 1)];
      latents.set(between(u, v), i * generator.latent);
    }
    const images = generator.images(latents);
    for (let i = 0; i < SIDE * SIDE; i++) {
      const x = (i % SIDE) * (width + 1);
      const y = Math.floor(i / SIDE) * (height + 1);
      draw(find("walk"), generator.image(images, i), generator.shape, x, y);
    }
  }

  function go(u, v) {
    place = [u, v].map((share) => Math.max(0, Math.min(1, share)));
    const marker = find("walk-marker");
    [marker.style.left, marker.style.top] = place.map(
      (share) => `${(100 * (0.5 + share * (SIDE - 1))) / SIDE}%`,
    );
    draw(find("walk-here"), generator.images(between(...place)), generator.shape);
    const [right, down] = place.map((share) => `${Math.round(100 * share)}%`);
    find("walk-place").textContent = `${right} to the right, ${down} down`;
  }

  function follow(event) {
    const box = area.getBoundingClientRect();
    const share = (at, size) => ((at / size) * SIDE - 0.5) / (SIDE - 1);
    go(
      share(event.clientX - box.left, box.width),
      share(event.clientY - box.top, box.height),
    );
  }

  function begin() {
    corners = [0, 1, 2, 3].map(() => generator.sample(1));
    fill();
    go(...place);
  }

  area.addEventListener("pointerdown", (event) => {
    area.setPointerCapture(event.pointerId);
    follow(event);
  });
  area.addEventListener("pointermove", (event) => event.buttons && follow(event));
  area.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    go(place[0] + move[0] / STEPS, place[1] + move[1] / STEPS);
  });
  find("new-corners").addEventListener("click", begin);
  begin();
}

// ---- Add noise, and project back ----

class Descent {
  // Minimises |G(z) - noisy|^2 / (2 sigma^2) + |z|^2 / 2 from several starts at once, with Adam
  // (Kingma & Ba 2015): the most probable latent, as in Bora et al. 2017, "CSGM". Of a conditional
  // generator all starts have the class of `label`; where that is not given, each has its own.
  static STARTS = 4;
  static BANK = 96;
  static STEPS = 120;

  constructor(generator, noisy, sigma, label) {
    Object.assign(this, { generator, noisy, sigma, step: 0 });
    const bank = generator.sample(Descent.BANK, label);
    const images = generator.images(bank);
    const nearest = [...Array(Descent.BANK).keys()]
      .map((n) => [this.distance(images, n), n])
      .sort((a, b) => a[0] - b[0])
      .filter(this.isFirstOfItsClass(bank, label))
      .slice(0, Descent.STARTS);
    this.latents = new Float32Array(Descent.STARTS * generator.latent);
    nearest.forEach(([, n], k) => this.latents.set(generator.row(bank, n), k * generator.latent));
    this.mean = new Float32Array(this.latents.length);
    this.square = new Float32Array(this.latents.length);
    this.best = null;
    this.label = null; // the class of the best
  }

  isFirstOfItsClass(bank, label) {
    const { generator } = this;
    const guesses = generator.classes.length >= Descent.STARTS && label === undefined;
    const seen = new Set();
    return ([, n]) => {
      const found = guesses ? classOf(generator, generator.row(bank, n)) : n;
      return !seen.has(found) && seen.add(found);
    };
  }

  distance(images, n) {
    let sum = 0;
    for (let i = 0; i < this.noisy.length; i++) {
      sum += (images[n * this.noisy.length + i] - this.noisy[i]) ** 2;
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
    const atPixels = images.map((v, i) => weight * (v - this.noisy[i % this.noisy.length]));
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

function startRestoring(generator) {
  const sigma = find("sigma");
  const button = find("project");
  const known = find("class-known"); // only on the page of a conditional generator
  let [clean, label, noise, noisy, descent, errors] = [null, null, null, null, null, []];

  const squaredError = (image) =>
    image.reduce((sum, v, i) => sum + ((v - clean[i]) / 2) ** 2, 0) / image.length;
  const decibels = (image) => `${(-10 * Math.log10(squaredError(image))).toFixed(1)} dB`;

  function clear() {
    descent = null;
    errors = [];
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
    find("psnr-noisy").textContent = decibels(noisy);
  }

  function newImage() {
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
    find("psnr-restored").textContent = decibels(descent.best);
    if (known) find("class-restored").textContent = generator.classes[descent.label];
    errors.push(Math.sqrt(squaredError(descent.best)));
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
    run(descent);
  });
  sigma.addEventListener("input", addNoise);
  known?.addEventListener("change", clear);
  find("new-clean").addEventListener("click", newImage);
  newImage();
}

function startGenerator() {
  const generator = new Generator(data.live, decodeWeights(find("weights").textContent));
  startSteering(generator, data.live.directions);
  startWalk(generator);
  startRestoring(generator);
  document.documentElement.classList.add("playable");
  // For the console, and for the tests: latents in, rows of levels out.
  window.lab = {
    generate: (latents) => {
      const images = generator.images(Float32Array.from(latents.flat()));
      return latents.map((_, n) => [...generator.image(images, n)].map(level));
    },
  };
}

startFilm();
if (data.live) requestAnimationFrame(() => setTimeout(startGenerator)); // after the first paint
