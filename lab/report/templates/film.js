"use strict";
// The film of sample grids. page.py joins all scripts, this one first. Their data are in the page:
// <script id="data"> and <script id="weights">.

const find = (id) => document.getElementById(id);
const all = (selector) => [...document.querySelectorAll(selector)];
const data = JSON.parse(find("data").textContent);
document.documentElement.classList.add("scripted");

function nearestFrame(epoch) {
  const distances = data.frames.map((frame) => Math.abs(frame.epoch - epoch));
  return distances.indexOf(Math.min(...distances));
}

// The slider selects the grid, the sentence and the cursor position in every chart.
function startFilm() {
  const slider = find("film-slider");
  if (!slider) return;
  const frames = all(".frame");
  const charts = all(".chart");
  const rows = new Map(data.history.map((row) => [row.epoch, row]));
  const button = find("play-film");
  let timer = 0;

  function show(index) {
    const { epoch, sentence } = data.frames[index];
    slider.value = index;
    slider.setAttribute("aria-valuetext", `epoch ${epoch}`);
    frames.forEach((frame, i) => frame.classList.toggle("current", i === index));
    find("film-epoch").textContent = `epoch ${epoch}`;
    find("film-sentence").textContent = sentence;
    for (const chart of charts) {
      const x = (100 * epoch) / chart.dataset.epochs;
      const cursor = chart.querySelector(".cursor");
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
      for (const cell of chart.querySelectorAll("[data-column]")) {
        const value = (rows.get(epoch) || {})[cell.dataset.column];
        cell.textContent = value === undefined ? "–" : value.toFixed(value < 10 ? 2 : 1);
      }
    }
  }

  function stop() {
    clearInterval(timer);
    timer = 0;
    button.classList.remove("playing");
    button.setAttribute("aria-label", "Play the film");
  }

  button.addEventListener("click", () => {
    if (timer) return stop();
    if (+slider.value === frames.length - 1) show(0);
    button.classList.add("playing");
    button.setAttribute("aria-label", "Pause the film");
    timer = setInterval(() => {
      show(+slider.value + 1);
      if (+slider.value >= frames.length - 1) stop();
    }, Math.max(120, Math.min(450, 6000 / frames.length)));
  });
  slider.addEventListener("input", () => {
    stop();
    show(+slider.value);
  });

  for (const chart of charts) {
    const svg = chart.querySelector("svg");
    const seek = (event) => {
      const box = svg.getBoundingClientRect();
      stop();
      show(nearestFrame(((event.clientX - box.left) / box.width) * chart.dataset.epochs));
    };
    svg.addEventListener("pointerdown", (event) => {
      svg.setPointerCapture(event.pointerId);
      seek(event);
    });
    svg.addEventListener("pointermove", (event) => event.buttons && seek(event));
  }
  show(frames.length - 1);
}
