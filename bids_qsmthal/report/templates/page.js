"use strict";

// Figures: click or Enter shows one as large as the window.
const enlarged = document.getElementById("enlarged");
const largeImage = enlarged.querySelector("img");
function enlarge(image) {
  largeImage.src = image.src;
  largeImage.alt = image.alt;
  enlarged.showModal();
}
for (const image of document.querySelectorAll(".picture img, .layer img")) {
  image.classList.add("can-enlarge");
  image.tabIndex = 0;
  image.setAttribute("role", "button");
  image.setAttribute("aria-label", image.alt + " (enlarge)");
  image.addEventListener("click", () => enlarge(image));
  image.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      enlarge(image);
    }
  });
}
largeImage.addEventListener("click", () => enlarged.close());

// Radiological view: each column of slices is mirrored by itself, the letters change places.
const LETTER = 6; // points: a letter of the figures with its plate
function mirrored(source) {
  const drawing = new DOMParser().parseFromString(source, "image/svg+xml");
  const make = (name, attributes, parent) => {
    const made = drawing.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) { made.setAttribute(key, value); }
    return parent.appendChild(made);
  };
  for (const strip of drawing.querySelectorAll("g[id^=mirror-]")) {
    const [, columns, hundredths] = strip.id.split("-").map(Number);
    const width = hundredths / 100;
    const letters = [...strip.querySelectorAll("g[id^=place-], g[id^=first-], g[id^=second-]")];
    const content = make("g", { id: "content-" + strip.id }, make("defs", {}, strip));
    for (const child of [...strip.childNodes]) {
      if (child !== content.parentNode && !letters.includes(child)) { content.append(child); }
    }
    for (let column = 0; column < columns; column += 1) {
      const name = "column-" + column + "-" + strip.id;
      const clip = make("clipPath", { id: name }, content.parentNode);
      make("rect", { x: column * width, y: -1e4, width, height: 2e4 }, clip);
      const turn = "translate(" + (2 * column + 1) * width + ",0) scale(-1,1)";
      const part = make("g", { "clip-path": "url(#" + name + ")" }, strip);
      make("use", { href: "#" + content.id, transform: turn }, part);
    }
    for (const letter of letters) {
      const far = { first: 0.98 * width - LETTER, second: LETTER - 0.98 * width }[letter.id.split("-")[0]];
      if (far) { letter.setAttribute("transform", "translate(" + far + ",0)"); }
      strip.append(letter);
    }
  }
  return new XMLSerializer().serializeToString(drawing);
}
const radiological = document.getElementById("radiological");
const DRAWING = "data:image/svg+xml,";
const sides = [...document.querySelectorAll(".picture img, .layer img")]
  .filter((image) => image.src.startsWith(DRAWING) && image.src.includes("mirror-"))
  .map((image) => ({ image, own: image.src, other: "" }));
if (radiological && sides.length) {
  radiological.closest("p").hidden = false;
  radiological.addEventListener("change", () => {
    for (const side of sides) {
      if (!side.other) {
        side.other = DRAWING + encodeURIComponent(mirrored(decodeURIComponent(side.own.slice(DRAWING.length))));
      }
      side.image.src = radiological.checked ? side.other : side.own;
    }
  });
}

// Two pictures in one place: switched by hand, or by a clock.
for (const figure of document.querySelectorAll(".flicker")) {
  const layers = [...figure.querySelectorAll(".layer")];
  const showing = figure.querySelector(".showing");
  const switchButton = figure.querySelector(".switch");
  const playButton = figure.querySelector(".play");
  let shown = 0;
  let timer = null;
  const show = (index) => {
    shown = index;
    layers.forEach((layer, number) => layer.classList.toggle("shown", number === index));
    switchButton.setAttribute("aria-pressed", String(index === 1));
  };
  const announce = () => {
    showing.textContent = "Showing: " + layers[shown].querySelector(".layer-name").textContent;
  };
  const stop = () => {
    clearInterval(timer);
    timer = null;
    playButton.setAttribute("aria-pressed", "false");
  };
  switchButton.addEventListener("click", () => { stop(); show(1 - shown); announce(); });
  playButton.addEventListener("click", () => {
    if (timer !== null) { stop(); announce(); return; }
    playButton.setAttribute("aria-pressed", "true");
    showing.textContent = "Switching twice a second";
    timer = setInterval(() => show(1 - shown), 500);
  });
  figure.querySelector(".stack").classList.add("switched");
  figure.querySelector(".controls").hidden = false;
  show(0);
  announce();
}

// The decision: one row of a TSV file, saved by the browser.
for (const form of document.querySelectorAll("form.rating")) {
  const save = () => {
    // An apostrophe before what a spreadsheet would run as a formula, as core/files.py writes it.
    const guarded = (text) => (/^'*[=+@-]/.test(text) && isNaN(text) ? "'" + text : text);
    const clean = (text) => guarded(text.replace(/[\s"]+/g, " ").trim()) || "n/a";
    const data = new FormData(form);
    const header = ["participant_id", "session_id", "run_id", "decision", "reason", "artefacts", "rater", "rated_at"];
    const { participant, session, run } = form.dataset;
    const artefacts = data.getAll("artefact").join(", ");
    const said = [data.get("decision"), data.get("reason"), artefacts, data.get("rater")];
    const row = [participant, session, run, ...said, new Date().toISOString()];
    const line = (cells) => cells.map((cell) => clean(String(cell || ""))).join("\t") + "\n";
    const text = line(header) + line(row);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/tab-separated-values" }));
    link.download = form.dataset.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    form.querySelector("[role=status]").textContent = "Saved " + form.dataset.name;
  };
  form.querySelector(".save-rating").addEventListener("click", save);
  form.addEventListener("submit", (event) => { event.preventDefault(); save(); });
}

// When the file was written: a date inside it would make every run's page another one.
for (const written of document.querySelectorAll(".written")) {
  const time = new Date(document.lastModified);
  written.querySelector("time").textContent = time.toLocaleString("en-GB", { dateStyle: "long", timeStyle: "short" });
  written.hidden = false;
}

// The contents: mark the section that is in view.
const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) { continue; }
    for (const link of links.values()) { link.removeAttribute("aria-current"); }
    const link = links.get(entry.target.id);
    if (link) { link.setAttribute("aria-current", "true"); }
  }
}, { rootMargin: "-10% 0px -80% 0px" });
for (const id of links.keys()) {
  const target = document.getElementById(id);
  if (target) { watcher.observe(target); }
}

// Paper shows what is folded, but no table of many pages: its file has every row.
const MOST_ROWS_ON_PAPER = 100;
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) {
    if (details.querySelectorAll("tbody tr").length <= MOST_ROWS_ON_PAPER) { details.open = true; }
  }
});
