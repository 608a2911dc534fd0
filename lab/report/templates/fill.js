// Inpainting: project a sample with a hidden part, comparing the visible pixels only.

function startFilling(generator) {
  const SIGMA = 0.05; // noise level of the visible pixels, on [0, 1]
  const LEAST_STEPS = 10; // of a projection before it restarts while the mask is still drawn
  const [, height, width] = generator.shape;
  const pixels = height * width;
  const [covered, brush] = [find("covered"), find("brush")];
  const mask = new Uint8Array(pixels); // 1 where the image is hidden
  const isVisible = (i) => !mask[i % pixels];
  let [whole, label, candidates, descent, last] = [null, 0, null, null, null];
  let [isStale, isRunning] = [false, false]; // isStale: the mask has changed since the start

  function showMask() {
    const context = covered.getContext("2d");
    draw(covered, whole, generator.shape);
    mask.forEach((hidden, i) => {
      if (hidden) context.clearRect(i % width, Math.floor(i / width), 1, 1);
    });
    const share = mask.reduce((sum, hidden) => sum + hidden, 0) / pixels;
    find("hidden-share").textContent = share ? `${Math.ceil(100 * share)}% hidden` : "";
  }

  function change() {
    isStale = true;
    showMask();
    if (!isRunning) requestAnimationFrame(advance);
    isRunning = true;
    find("filled").setAttribute("aria-busy", true);
  }

  // One step of the projection per animation frame. It restarts when the mask changes, because the
  // present latent depends on pixels that are hidden now.
  function advance() {
    if (isStale && !(last && descent?.step < LEAST_STEPS)) {
      candidates ??= drawCandidates(generator, label);
      descent = new Descent(generator, whole, SIGMA, label, candidates, isVisible);
      isStale = false;
    }
    isRunning = descent !== null && (isStale || !descent.finished);
    find("filled").setAttribute("aria-busy", isRunning);
    if (!isRunning) return;
    descent.advance();
    draw(find("filled"), descent.best, generator.shape);
    const error = squaredError(descent.best, whole, (i) => !isVisible(i));
    find("psnr-filled").textContent = decibels(error);
    requestAnimationFrame(advance);
  }

  function clear() {
    mask.fill(0);
    [descent, isStale, viewState.hidden] = [null, false, []];
    find("filled").getContext("2d").clearRect(0, 0, width, height);
    find("psnr-filled").textContent = "";
    showMask();
  }

  function newSample(from = seed) {
    viewState.whole = seed = from;
    const row = generator.sample(1);
    [whole, label, candidates] = [generator.images(row), classOf(generator, row), null];
    if (generator.classes.length) find("class-whole").textContent = generator.classes[label];
    draw(find("whole"), whole, generator.shape);
    clear();
  }

  function hide(isHidden) {
    for (let i = 0; i < pixels; i++) mask[i] ||= isHidden(i % width, Math.floor(i / width));
    viewState.hidden = [...mask.keys()].filter((i) => mask[i]);
    change();
  }

  // Hide the pixels near the straight line from the last position of the pointer.
  function stroke(event) {
    const box = covered.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * width - 0.5;
    const y = ((event.clientY - box.top) / box.height) * height - 0.5;
    const [fromX, fromY] = last ?? [x, y];
    const [dx, dy] = [x - fromX, y - fromY];
    hide((column, row) => {
      const along = ((column - fromX) * dx + (row - fromY) * dy) / (dx * dx + dy * dy || 1);
      const share = Math.max(0, Math.min(1, along));
      return Math.hypot(column - fromX - share * dx, row - fromY - share * dy) <= brush.value / 2;
    });
    last = [x, y];
  }

  covered.addEventListener("pointerdown", (event) => {
    covered.setPointerCapture(event.pointerId);
    stroke(event);
  });
  covered.addEventListener("pointermove", (event) => event.buttons && stroke(event));
  for (const type of ["pointerup", "pointercancel"]) {
    covered.addEventListener(type, () => (last = null));
  }
  find("cover-half").addEventListener("click", () => hide((column, row) => row >= height / 2));
  find("clear-hole").addEventListener("click", clear);
  find("new-whole").addEventListener("click", () => newSample());
  const { hidden = [] } = viewState; // newSample clears it
  newSample(viewState.whole);
  if (hidden.length) hide((column, row) => hidden.includes(row * width + column));
}
