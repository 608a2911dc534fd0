// Interactive latent directions, and interpolation between samples.

// ---- Random numbers, interpolation, drawing ----

// The state of the random generator. A sample can be reproduced from the state before it.
let seed = 7;

function uniform() {
  // A uniform random number in [0, 1): mulberry32.
  seed = (seed + 0x6d2b79f5) | 0;
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}

// The seeds of the samples on the page. live.js restores them after a reload.
const viewState = {};

function normals(count) {
  // Standard normal numbers: Box and Muller 1958.
  return new Float32Array(count).map(
    () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}

const dot = (a, b) => a.reduce((sum, v, i) => sum + v * b[i], 0);

function slerp(a, b, share) {
  // Spherical interpolation: Shoemake 1985; for latents: White 2016, "Sampling generative networks".
  const cosine = dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
  const angle = Math.acos(Math.max(-1, Math.min(1, cosine)));
  if (Math.sin(angle) < 1e-4) return a.map((v, i) => v + share * (b[i] - v));
  const [wa, wb] = [Math.sin((1 - share) * angle), Math.sin(share * angle)];
  return a.map((v, i) => (wa * v + wb * b[i]) / Math.sin(angle));
}

const level = (pixel) => Math.max(0, Math.min(255, Math.round((pixel + 1) * 127.5)));

// image: of shape [channels, height, width], grey or colour.
function draw(canvas, image, [channels, height, width], x = 0, y = 0) {
  const picture = new ImageData(width, height);
  const pixels = height * width;
  for (let i = 0; i < pixels; i++) {
    for (let channel = 0; channel < 3; channel++) {
      picture.data[4 * i + channel] = level(image[(channel % channels) * pixels + i]);
    }
    picture.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(picture, x, y);
}

// ---- Latent directions ----

function startSteering(generator, directions) {
  const sliders = all(".direction");
  const strip = find("strip");
  const MOST_KEPT = 24;
  const morph = find("morph"); // of a conditional generator only
  const classRow = morph && new ClassRow(generator, ask);
  const { samples = [], base: shown } = viewState;
  let base = null;
  let kept = 0;
  viewState.samples = [];

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

  // origin: { from, label }, the seed of a sample and its class, if one was chosen.
  function drawn(origin) {
    seed = origin.from;
    return generator.sample(1, origin.label);
  }

  function take(latent, origin = viewState.base) {
    viewState.base = origin;
    base = latent.slice();
    for (const slider of sliders) slider.value = 0;
    if (morph) morph.value = classOf(generator, base);
    show();
    if (classRow) classRow.show(base);
  }

  function keep(origin) {
    const latent = drawn(origin);
    const [button, canvas] = pictureButton(generator, () => take(latent, origin));
    kept += 1;
    button.setAttribute("aria-label", `Bring sample ${kept} back`);
    draw(canvas, generator.images(latent), generator.shape);
    strip.prepend(button);
    if (strip.children.length > MOST_KEPT) strip.lastChild.remove();
    viewState.samples = [...viewState.samples, origin].slice(-MOST_KEPT);
    return latent;
  }

  function sample(count) {
    const wanted = find("wanted-class")?.value;
    const origin = { from: seed, label: wanted ? +wanted : undefined };
    const latent = keep(origin);
    if (count === 1) take(latent, origin);
    else sample(count - 1);
  }

  for (const slider of sliders) {
    slider.addEventListener("input", show);
    if (classRow) slider.addEventListener("change", () => classRow.show(steered()));
  }
  morph?.addEventListener("input", show);
  find("wanted-class")?.addEventListener("change", () => sample(12));
  find("new-sample").addEventListener("click", () => sample(1));
  find("centre").addEventListener("click", () => take(base));
  samples.forEach(keep);
  if (shown) take(drawn(shown), shown);
  else sample(16);
}

// ---- Interpolation between four samples ----

function startWalk(generator) {
  const SIDE = 8; // images per side of the grid
  const STEPS = 4 * (SIDE - 1); // steps with an arrow key from one side to the other
  const [, height, width] = generator.shape;
  const area = find("walk-area");
  let corners = [];
  let position = viewState.position ?? [0.5, 0.5]; // from left, from top

  const between = (u, v) =>
    generator.between(
      generator.between(corners[0], corners[1], u),
      generator.between(corners[2], corners[3], u),
      v,
    );

  function fill() {
    const latents = new Float32Array(SIDE * SIDE * generator.rowSize);
    for (let i = 0; i < SIDE * SIDE; i++) {
      const [u, v] = [(i % SIDE) / (SIDE - 1), Math.floor(i / SIDE) / (SIDE - 1)];
      latents.set(between(u, v), i * generator.rowSize);
    }
    const images = generator.images(latents);
    for (let i = 0; i < SIDE * SIDE; i++) {
      const x = (i % SIDE) * (width + 1);
      const y = Math.floor(i / SIDE) * (height + 1);
      draw(find("walk"), generator.image(images, i), generator.shape, x, y);
    }
  }

  function go(u, v) {
    position = viewState.position = [u, v].map((share) => Math.max(0, Math.min(1, share)));
    const marker = find("walk-marker");
    [marker.style.left, marker.style.top] = position.map(
      (share) => `${(100 * (0.5 + share * (SIDE - 1))) / SIDE}%`,
    );
    draw(find("walk-here"), generator.images(between(...position)), generator.shape);
    const [right, down] = position.map((share) => `${Math.round(100 * share)}%`);
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

  function begin(from = seed) {
    viewState.corners = seed = from;
    corners = [0, 1, 2, 3].map(() => generator.sample(1));
    fill();
    go(...position);
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
    go(position[0] + move[0] / STEPS, position[1] + move[1] / STEPS);
  });
  find("new-corners").addEventListener("click", () => begin());
  begin(viewState.corners);
}

function startGenerator() {
  const generator = new Generator(data.live, decodeWeights(find("weights").textContent));
  startSteering(generator, data.live.directions);
  startWalk(generator);
  startRestoring(generator);
  startFilling(generator);
  seed = viewState.seed ?? seed;
  document.documentElement.classList.add("playable");
  // For the console and for tests: input rows -> pixel levels of each image.
  window.lab = {
    generate: (latents) => {
      const images = generator.images(Float32Array.from(latents.flat()));
      return latents.map((_, n) => [...generator.image(images, n)].map(level));
    },
  };
}

startFilm();
if (data.live) requestAnimationFrame(() => setTimeout(startGenerator)); // after the first paint
