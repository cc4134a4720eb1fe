// The page: the table, one participant, and the keys that go from one to the next.
import { Remake } from "./remake.js";
import { read, send } from "./requests.js";
import { Table } from "./table.js";
import { Viewer, colors } from "./viewer.js";

const element = (id) => document.getElementById(id);
let writable = false;
let files = "";
let row = null;

const say = (text) => {
  const bad = text instanceof Error;
  element("status").textContent = bad ? text.message : text;
  element("status").classList.toggle("bad", bad);
};
const guarded = (work) => async (...given) => {
  try { await work(...given); } catch (error) { say(error); }
};

const viewer = new Viewer(say);
const table = new Table(guarded((chosen) => open(chosen)));
// Slow enough not to disturb those who react to flashes (WCAG 2.3.1: at most three a second).
const BLINK_MS = 500;
const remake = new Remake(say, guarded(async (run) => {
  await load();
  const now = row && table.rows.find((one) => one.name === row.name);
  // What is shown is of the run before; strokes that nobody saved stay.
  if (now && run.done && !element("participant").hidden && !viewer.changed) { await open(now); }
  say(run.done ? `${run.name} was remade.` : `${run.name} was not remade.`);
}));

const load = async () => {
  const found = await read("api/participants");
  writable = found.writable;
  element("raw").hidden = found.raw;
  files = found.files;
  table.fill(found.rows);
  element("tools").hidden = !writable;
  for (const id of ["saving", "drawing", "remaking"]) { element(id).hidden = !writable; }
  say(`${found.rows.length} scans${writable ? "" : "; the folder cannot be written: view only"}`);
};

const options = (id, pairs) => {
  element(id).replaceChildren(...pairs.map(([value, text]) => new Option(text, value)));
};

const open = async (chosen) => {
  row = chosen;
  element("list").hidden = true;
  element("participant").hidden = false;
  element("name").textContent = row.name;
  const number = row.number_ppb === null ? "no number" : `${row.number_ppb.toFixed(1)} ppb`;
  element("summary").textContent = `${row.verdict || "failed"}, ${number}`;
  const listed = row.warnings.map((text) => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  });
  element("warnings").replaceChildren(...listed);
  element("report").hidden = !row.report;
  element("report").href = `${files}${encodeURIComponent(row.name)}.html`;
  document.title = `bids_qsmthal: ${row.name}`;
  delete document.documentElement.dataset.shown;
  element("close").focus();
  // Without images there is nothing to draw on; what was shown before is of another scan.
  element("picture").hidden = element("save").hidden = !row.folder;
  for (const id of ["drawing", "tools"]) { element(id).hidden = !writable || !row.folder; }
  if (!row.folder) { return say("This run failed: there is no image."); }
  say("Loading the images.");
  const scan = await viewer.open(row, writable);
  const head = element("planes").querySelector("[value=head]");
  head.disabled = !scan.head;
  if (head.disabled && head.selected) { element("planes").value = "scan"; }
  options("label", scan.labels.map((label) => [label.key, label.title + (label.edited ? " (corrected)" : "")]));
  if (!scan.labels.length) { return say("There is no label to show."); }
  await show(scan.labels[0].key);
};

const show = async (key, begin = "") => {
  const [versions, shown] = await Promise.all([read(`api/versions/${row.name}/${key}`), viewer.show(key, begin)]);
  if (!shown) { return; }
  const begins = versions.map((one) => [one.key, one.reader ? `version ${one.key.replace("_", " of ")}` : "the run's own"]);
  options("begin", [["", "what counts now"], ...begins]);
  element("begin").value = begin;
  options("map", viewer.scan.maps.map((map) => [map.key, map.unit ? `${map.title} (${map.unit})` : map.title]));
  element("map").value = viewer.shown;
  const names = viewer.label.values.map((name, index) => [index + 1, `draw ${name}`]);
  options("pen", [...names, [0, "erase"]]);
  viewer.pen();
  element("pieces").hidden = !viewer.label.pieces || !writable;
  document.querySelector("[data-tool=sides]").hidden = viewer.label.values.length !== 2 || viewer.label.whole;
  element("drawn").hidden = !viewer.label.whole;
  document.querySelector("[data-tool=nudge]").hidden = viewer.label.space !== "MEGRE" || key === "vein";
  legend(key);
  windowed();
  say(`${row.name}: ${viewer.label.title}`);
  document.documentElement.dataset.shown = `${row.name} ${key}`;
  // Not before all of this one is there; it is the one for `j`.
  viewer.measured.then(() => expect(table.neighbour(row.name, 1)));
};

// What the colours of the outlines and of the drawing mean.
const legend = (own) => {
  const lines = viewer.scan.labels.flatMap((label) => {
    if (label.key !== own) { return [[label.title, label.color]]; }
    const names = label.values.length > 1 ? label.values.map((name) => `${label.title}, ${name}`) : [label.title];
    return names.map((name, at) => [`${name} (drawn)`, colors(label)[at]]);
  });
  element("legend").replaceChildren(...lines.map(([text, color]) => {
    const [line, mark] = [document.createElement("li"), document.createElement("span")];
    line.textContent = text;
    mark.textContent = "■ ";
    mark.style.color = color;
    mark.ariaHidden = "true";
    line.prepend(mark);
    return line;
  }));
  element("legend").hidden = !element("outlines").checked;
};

const windowed = () => {
  element("low").value = Number(viewer.map.cal_min.toPrecision(4));
  element("high").value = Number(viewer.map.cal_max.toPrecision(4));
};

const close = () => {
  element("participant").hidden = true;
  element("list").hidden = false;
  document.title = "bids_qsmthal: participants";
  // Back to where the keyboard was.
  if (row) { table.focus(row.name); }
};

// A reader who looks through a table goes over lines that he does not open.
const RESTED_MS = 100;
let resting = 0;
// It is no mistake of what is looked at if a scan cannot be had ahead: opening it says why.
const expect = (next) => viewer.expect(next).catch(() => {});
const rested = (event) => {
  const row = table.at(event.target.closest("tr"));
  clearTimeout(resting);
  resting = setTimeout(() => expect(row), RESTED_MS);
};
for (const kind of ["pointerover", "focusin"]) { element("rows").addEventListener(kind, rested); }

const go = guarded(async (step) => {
  const other = row && table.neighbour(row.name, step);
  if (other) { await open(other); }
});

const signed = () => {
  const reader = element("reader");
  if (!reader.reportValidity()) { throw new Error("Type your name or initials (letters, digits, hyphens)."); }
  return [reader.value, element("reason").value];
};

element("close").addEventListener("click", close);
element("previous").addEventListener("click", () => go(-1));
element("next").addEventListener("click", () => go(1));
element("label").addEventListener("change", guarded(() => show(element("label").value)));
element("begin").addEventListener("change", guarded(() => show(element("label").value, element("begin").value)));
element("agree").addEventListener("click", guarded(async () => {
  const { rows } = await read("api/agreement");
  const text = (value) => (value === null ? "n/a" : value.toFixed(3));
  const lines = rows.map((one) => {
    const line = document.createElement("tr");
    const interval = one.ci_low === null ? "" : `${text(one.ci_low)} to ${text(one.ci_high)}`;
    const lowest = one.lowest === null ? "" : `${text(one.lowest)} (${one.lowest_scan})`;
    const cells = [one.about, one.quantity, `${one.first}, ${one.second}`, one.n_scans, text(one.value), interval, lowest];
    for (const cell of cells) { line.appendChild(document.createElement("td")).textContent = cell; }
    return line;
  });
  element("agreement").parentElement.hidden = !rows.length;
  element("agreement").tBodies[0].replaceChildren(...lines);
  say(rows.length ? "" : "No two readers corrected or rated the same scan.");
}));
element("map").addEventListener("change", guarded(async () => {
  await viewer.choose(element("map").value);
  windowed();
}));
for (const id of ["low", "high"]) {
  element(id).addEventListener("change", () => {
    const [low, high] = [Number(element("low").value), Number(element("high").value)];
    if (high > low) { Object.assign(viewer.map, { cal_min: low, cal_max: high }); viewer.nv.updateGLVolume(); }
  });
}
for (const id of ["pen", "size", "fill"]) { element(id).addEventListener("change", () => viewer.pen()); }
element("opacity").addEventListener("input", () => viewer.nv.setDrawOpacity(Number(element("opacity").value)));
element("view").addEventListener("change", () => {
  const name = element("view").value === "all" ? "MULTIPLANAR" : element("view").value.toUpperCase();
  viewer.nv.setSliceType(niivue.SLICE_TYPE[name]);
});
element("outlines").addEventListener("change", guarded(() => {
  element("legend").hidden = !element("outlines").checked;
  return viewer.layers();
}));
element("mix").addEventListener("input", () => viewer.mix(Number(element("mix").value)));
let blinking = 0;
element("blink").addEventListener("change", () => {
  clearInterval(blinking);
  if (element("blink").checked) { blinking = setInterval(() => viewer.blink(), BLINK_MS); }
  else { viewer.mix(Number(element("mix").value)); }
});
element("planes").addEventListener("change", guarded(() => viewer.planes(element("planes").value)));
for (const button of document.querySelectorAll("[data-tool]")) {
  button.addEventListener("click", guarded(() => viewer.tool(button.dataset.tool)));
}
element("within").addEventListener("click", guarded(() => viewer.within()));
element("piece").addEventListener("click", () => viewer.go(1));
element("drawn").addEventListener("click", () => viewer.go(1, true));
element("confirm").addEventListener("click", guarded(() => viewer.confirm()));
element("reject").addEventListener("click", guarded(() => viewer.reject()));
element("undo").addEventListener("click", () => viewer.nv.drawUndo());
element("saving").addEventListener("submit", (event) => event.preventDefault());
element("save").addEventListener("click", guarded(async () => {
  const [reader, reason] = signed();
  // A header holds no letter outside of Latin-1 (RFC 9110).
  const why = [reason, viewer.decided].filter(Boolean).join("; ");
  const path = await viewer.save(reader, encodeURIComponent(why));
  say(`Saved ${path}. Run this participant again to use it.`);
}));
element("remake").addEventListener("click", () => remake.start(row.name));
element("rate").addEventListener("click", guarded(async () => {
  const [reader, reason] = signed();
  const body = JSON.stringify({ reader, reason, decision: element("decision").value });
  await send("POST", `api/rating/${row.name}`, body);
  await load();
  say(`Saved the rating of ${row.name}.`);
}));

const keys = {
  j: () => go(1), k: () => go(-1), Escape: close,
  u: () => viewer.nv.drawUndo(), p: () => viewer.mark(),
  o: () => element("outlines").click(), f: () => viewer.blink(),
  n: () => viewer.go(1), N: () => viewer.go(1, true), c: guarded(() => viewer.confirm()), x: guarded(() => viewer.reject()),
};
// With the picture in focus these move the crosshair by a voxel.
const steps = {
  ArrowLeft: [-1, 0, 0], ArrowRight: [1, 0, 0], ArrowDown: [0, -1, 0], ArrowUp: [0, 1, 0],
  PageDown: [0, 0, -1], PageUp: [0, 0, 1],
};
addEventListener("keydown", (event) => {
  const typing = event.target.matches("input, select");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || element("participant").hidden) { return; }
  const step = event.target === element("canvas") && steps[event.key];
  if (!step && !keys[event.key]) { return; }
  // NiiVue has keys of its own, which would do something else besides.
  event.stopImmediatePropagation();
  if (step) { event.preventDefault(); viewer.nv.moveCrosshairInVox(...step); } else { keys[event.key](); }
}, { capture: true });

globalThis.bench = { viewer };
guarded(async () => {
  await load();
  await remake.look();
  await viewer.attach();
  await expect(table.shown[0]);
})();
