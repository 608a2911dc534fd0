// Cover a part of a sample, and have it filled in: a projection that compares only what is left.

function startFilling(generator) {
  const SIGMA = 0.05; // on [0, 1]: how far the projection may be off where nothing is hidden
  const LEAST_STEPS = 10; // of a projection, before it begins anew for a hole that still grows
  const [, height, width] = generator.shape;
  const places = height * width;
  const [covered, brush] = [find("covered"), find("brush")];
  const hole = new Uint8Array(places); // 1 where the picture is hidden, in all its channels
  const isSeen = (i) => !hole[i % places];
  let [whole, label, bank, descent, last] = [null, 0, null, null, null];
  let [isStale, isRunning] = [false, false];

  function showHole() {
    const context = covered.getContext("2d");
    draw(covered, whole, generator.shape);
    hole.forEach((hidden, i) => {
      if (hidden) context.clearRect(i % width, Math.floor(i / width), 1, 1);
    });
    const share = hole.reduce((sum, hidden) => sum + hidden, 0) / places;
    find("hidden-share").textContent = share ? `${Math.ceil(100 * share)}% hidden` : "";
  }

  function change() {
    isStale = true;
    showHole();
    if (!isRunning) requestAnimationFrame(advance);
    isRunning = true;
    find("filled").setAttribute("aria-busy", true);
  }

  // A step of the projection for each frame. For another hole it begins anew: where it stood, it
  // knew pixels that are hidden now.
  function advance() {
    if (isStale && !(last && descent?.step < LEAST_STEPS)) {
      bank ??= drawBank(generator, label);
      descent = new Descent(generator, whole, SIGMA, label, bank, isSeen);
      isStale = false;
    }
    isRunning = descent !== null && (isStale || !descent.finished);
    find("filled").setAttribute("aria-busy", isRunning);
    if (!isRunning) return;
    descent.advance();
    draw(find("filled"), descent.best, generator.shape);
    const error = squaredError(descent.best, whole, (i) => !isSeen(i));
    find("psnr-filled").textContent = decibels(error);
    requestAnimationFrame(advance);
  }

  function clear() {
    hole.fill(0);
    [descent, isStale, played.hole] = [null, false, []];
    find("filled").getContext("2d").clearRect(0, 0, width, height);
    find("psnr-filled").textContent = "";
    showHole();
  }

  function newSample(from = seed) {
    played.whole = seed = from;
    const row = generator.sample(1);
    [whole, label, bank] = [generator.images(row), classOf(generator, row), null];
    if (generator.classes.length) find("class-whole").textContent = generator.classes[label];
    draw(find("whole"), whole, generator.shape);
    clear();
  }

  function hide(isHidden) {
    for (let i = 0; i < places; i++) hole[i] ||= isHidden(i % width, Math.floor(i / width));
    played.hole = [...hole.keys()].filter((i) => hole[i]);
    change();
  }

  // The brush goes straight from where it was to where it is.
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
  const { hole: hidden = [] } = played;
  newSample(played.whole);
  if (hidden.length) hide((column, row) => hidden.includes(row * width + column));
}
