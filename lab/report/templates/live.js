// The page of a run under way: it loads itself again now and then, which needs no server, and leaves
// the reader where he was and with the samples he had, as the newer generator makes them. Once the
// run has ended the page that is loaded does so no more.

const RENEWED_EVERY = 20; // seconds; the run writes the page no oftener
const UNDISTURBED = 5; // seconds since the reader last did something here
const SILENT_AFTER = 300; // seconds: a run that goes on writes its page about each minute

const placeKey = `place in ${location.pathname}`;
const touchable = () => all("a, button, input, select, summary, [tabindex]");
const fields = () => all("#play input, #play select");

function savePlace() {
  const sections = all("section").map((each) => [each.id, each.getBoundingClientRect().top]);
  const slider = find("film-slider");
  const place = {
    section: sections.filter(([, top]) => top <= 1).pop(),
    scrolled: scrollY,
    epoch: slider && +slider.value < +slider.max ? data.frames[slider.value].epoch : null, // or the end
    fields: fields().map(({ value, checked }) => ({ value, checked })),
    played: { ...played, seed },
    open: all("details").map((each) => each.open),
    focus: touchable().indexOf(document.activeElement),
  };
  sessionStorage.setItem(placeKey, JSON.stringify(place));
}

function move(field, state) {
  const isMoved = field.value !== state.value;
  Object.assign(field, state);
  if (!isMoved || field.type !== "range") return;
  for (const type of ["input", "change"]) field.dispatchEvent(new Event(type));
}

function restorePlace() {
  const place = JSON.parse(sessionStorage.getItem(placeKey));
  sessionStorage.removeItem(placeKey);
  if (!place) return;
  Object.assign(played, place.played);
  all("details").forEach((each, i) => (each.open = place.open[i]));
  if (place.epoch !== null && find("film-slider")) {
    move(find("film-slider"), { value: String(nearestFrame(place.epoch)) });
  }
  const section = place.section && find(place.section[0]);
  const moved = section ? section.getBoundingClientRect().top - place.section[1] : place.scrolled;
  scrollBy({ top: moved, behavior: "instant" });
  // What one plays with is there only after the first paint.
  requestAnimationFrame(() =>
    setTimeout(() => {
      fields().forEach((each, i) => place.fields[i] && move(each, place.fields[i]));
      if (place.played.restored) find("project").click();
      if (place.focus >= 0) touchable()[place.focus]?.focus({ preventScroll: true });
    }),
  );
}

function keepRenewing(note) {
  const written = new Date(1000 * note.dataset.written);
  const loaded = Date.now();
  let disturbed = 0;
  let pressed = false;
  for (const type of ["pointerdown", "pointerup", "pointermove", "keydown", "wheel", "touchmove"]) {
    addEventListener(type, (event) => {
      disturbed = Date.now();
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
      note.textContent = `No sign of life since ${time}${day}: gan_lab.py --resume goes on with it.`;
    }
    const busy = pressed || now - disturbed < 1000 * UNDISTURBED || document.querySelector(".playing");
    const due = now - loaded > 1000 * RENEWED_EVERY * (silent ? 3 : 1);
    if (!due || busy || document.hidden || !getSelection().isCollapsed) return;
    clearInterval(timer); // a page that loads slowly shall not be asked for again
    savePlace();
    location.reload();
  }, 1000);
}

try {
  restorePlace();
  if (find("alive")) keepRenewing(find("alive"));
} catch (error) {
  if (error.name !== "SecurityError") throw error; // a browser that keeps nothing: no renewal
}
