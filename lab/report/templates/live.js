// The page of an unfinished run reloads itself, which needs no server. Scroll position, inputs and
// samples are kept; the samples are then those of the newer generator. The page of a finished run
// does not reload.

const RELOAD_EVERY = 20; // seconds; the run does not write the page more often
const IDLE_FOR = 5; // seconds without input from the reader before a reload
const SILENT_AFTER = 300; // seconds; a running training writes the page about every minute

const viewKey = `view of ${location.pathname}`;
const focusable = () => all("a, button, input, select, summary, [tabindex]");
const inputs = () => all("#play input, #play select");

function saveView() {
  const sections = all("section").map((each) => [each.id, each.getBoundingClientRect().top]);
  const slider = find("film-slider");
  const view = {
    section: sections.filter(([, top]) => top <= 1).pop(),
    scrolled: scrollY,
    epoch: slider && +slider.value < +slider.max ? data.frames[slider.value].epoch : null, // null: last
    inputs: inputs().map(({ value, checked }) => ({ value, checked })),
    viewState: { ...viewState, seed },
    open: all("details").map((each) => each.open),
    focus: focusable().indexOf(document.activeElement),
  };
  sessionStorage.setItem(viewKey, JSON.stringify(view));
}

function move(field, state) {
  const isMoved = field.value !== state.value;
  Object.assign(field, state);
  if (!isMoved || field.type !== "range") return;
  for (const type of ["input", "change"]) field.dispatchEvent(new Event(type));
}

function restoreView() {
  const view = JSON.parse(sessionStorage.getItem(viewKey));
  sessionStorage.removeItem(viewKey);
  if (!view) return;
  Object.assign(viewState, view.viewState);
  all("details").forEach((each, i) => (each.open = view.open[i]));
  if (view.epoch !== null && find("film-slider")) {
    move(find("film-slider"), { value: String(nearestFrame(view.epoch)) });
  }
  const section = view.section && find(view.section[0]);
  const moved = section ? section.getBoundingClientRect().top - view.section[1] : view.scrolled;
  scrollBy({ top: moved, behavior: "instant" });
  // The generator starts only after the first paint.
  requestAnimationFrame(() =>
    setTimeout(() => {
      inputs().forEach((each, i) => view.inputs[i] && move(each, view.inputs[i]));
      if (view.viewState.restored) find("project")?.click(); // null if there is no generator now
      if (view.focus >= 0) focusable()[view.focus]?.focus({ preventScroll: true });
    }),
  );
}

function reloadRegularly(note) {
  const written = new Date(1000 * note.dataset.written);
  const loaded = Date.now();
  let lastInput = 0;
  let pressed = false;
  for (const type of ["pointerdown", "pointerup", "pointermove", "keydown", "wheel", "touchmove"]) {
    addEventListener(type, (event) => {
      lastInput = Date.now();
      if (type !== "pointermove") pressed = type === "pointerdown";
    }, { passive: true });
  }
  history.scrollRestoration = "manual";

  const timer = setInterval(() => {
    const now = Date.now();
    const silent = now - written > 1000 * SILENT_AFTER;
    if (silent) {
      const today = written.toDateString() === new Date(now).toDateString();
      const time = written.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
      const day = today ? "" : ` on ${written.toLocaleDateString("en-CA")}`;
      const line = `No sign of life since ${time}${day}: gan_lab.py --resume continues the run.`;
      if (note.textContent !== line) note.textContent = line; // a screen reader reads each change
    }
    const busy = pressed || now - lastInput < 1000 * IDLE_FOR || document.querySelector(".playing");
    const due = now - loaded > 1000 * RELOAD_EVERY * (silent ? 3 : 1);
    if (!due || busy || document.hidden || !getSelection().isCollapsed) return;
    clearInterval(timer); // reload only once, even if loading is slow
    saveView();
    location.reload();
  }, 1000);
}

try {
  restoreView();
  if (find("alive")) reloadRegularly(find("alive"));
} catch (error) {
  if (error.name !== "SecurityError") throw error; // without sessionStorage there are no reloads
}
