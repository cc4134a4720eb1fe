"use strict";

const { decisions, strips } = JSON.parse(document.getElementById("data").textContent);
const scans = Object.keys(decisions);
const find = document.getElementById("find");
const said = document.getElementById("said");
const report = document.getElementById("report");
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const shortest = (value) => String(Number(value.toPrecision(4))).replace("-", "\u2212");
let chosen = "";

// Within the page of a participant, whose heading tells what this is.
const framed = window.top !== window.self;
document.body.classList.toggle("framed", framed);

// A fixed place up and down for each scan: dots of equal values lie apart, and stay where they are.
const heights = new Map(scans.map((scan, number) => [scan, ((number * 0.618034) % 1) * 0.7 + 0.15]));

const rows = strips.map((strip) => {
  const order = Object.keys(strip.by_scan).sort((a, b) => strip.by_scan[a] - strip.by_scan[b]);
  const values = order.map((scan) => strip.by_scan[scan]);
  const low = values[0];
  const high = values[values.length - 1];
  const place = document.createElement("section");
  place.className = "strip";
  place.tabIndex = 0;
  place.setAttribute("aria-label", strip.title);
  const heading = document.createElement("h2");
  heading.textContent = strip.title + (strip.unit ? " (" + strip.unit + ")" : "");
  const canvas = document.createElement("canvas");
  const range = document.createElement("p");
  const half = (values.length - 1) / 2;
  const middle = (values[Math.floor(half)] + values[Math.ceil(half)]) / 2;
  const spread = low === high ? shortest(low) : shortest(low) + " to " + shortest(high) + ", median " + shortest(middle);
  range.textContent = spread + ", n = " + values.length
    + (strip.limit && strip.limit !== "n/a" ? "; limit: " + strip.limit : "");
  const here = document.createElement("p");
  here.className = "here";
  place.append(heading, canvas, range, here);
  document.getElementById("strips").append(place);
  const row = { strip, order, ranks: new Map(order.map((scan, rank) => [scan, rank])), low, high, canvas, here };
  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect();
    choose(nearest(row, event.clientX - box.left, event.clientY - box.top, box));
  });
  place.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !order.length) { return; }
    event.preventDefault();
    const rank = row.ranks.has(chosen) ? row.ranks.get(chosen) + step : (step > 0 ? 0 : order.length - 1);
    choose(order[Math.min(Math.max(rank, 0), order.length - 1)]);
  });
  return row;
});

function position(row, scan, width, height) {
  const span = row.high - row.low || 1;
  return [8 + (width - 16) * (row.strip.by_scan[scan] - row.low) / span, height * heights.get(scan)];
}

function nearest(row, x, y, box) {
  let best = "";
  let least = Infinity;
  for (const scan of row.order) {
    const [px, py] = position(row, scan, box.width, box.height);
    const distance = (px - x) ** 2 + (py - y) ** 2;
    if (distance < least) { least = distance; best = scan; }
  }
  return best;
}

function draw(row) {
  const { canvas, strip } = row;
  const { width, height } = canvas.getBoundingClientRect();
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  // Those beyond a limit last: nothing may hide them.
  const flagged = row.order.filter((scan) => strip.flagged[scan]);
  for (const scan of [...row.order.filter((scan) => !strip.flagged[scan]), ...flagged]) {
    const [x, y] = position(row, scan, width, height);
    const verdict = strip.flagged[scan];
    pen.strokeStyle = pen.fillStyle = color(verdict === "exclude" ? "--bad" : verdict ? "--look" : "--quiet");
    pen.globalAlpha = verdict ? 1 : 0.55;
    pen.beginPath();
    // A cross, not only a colour: some readers see no difference between the colours.
    if (verdict) { pen.moveTo(x - 4, y - 4); pen.lineTo(x + 4, y + 4); pen.moveTo(x + 4, y - 4); pen.lineTo(x - 4, y + 4); pen.lineWidth = 2; pen.stroke(); }
    else { pen.arc(x, y, 2.5, 0, 7); pen.fill(); }
  }
  pen.globalAlpha = 1;
  if (chosen in strip.by_scan) {
    const [x, y] = position(row, chosen, width, height);
    pen.strokeStyle = pen.fillStyle = color("--accent");
    pen.lineWidth = 1.5;
    pen.beginPath(); pen.moveTo(x, 0); pen.lineTo(x, height); pen.stroke();
    pen.beginPath(); pen.arc(x, y, 5, 0, 7); pen.fill();
  }
}

function choose(scan) {
  chosen = scan;
  const known = scan in decisions;
  find.value = scan;
  report.hidden = !known || framed;
  if (known) {
    report.href = "../" + encodeURIComponent(scan) + ".html";
    history.replaceState(null, "", "#" + encodeURIComponent(scan));
  }
  said.textContent = known ? scan + ": " + decisions[scan] : scan ? "No scan has this label." : "";
  for (const row of rows) {
    const value = row.strip.by_scan[scan];
    row.here.textContent = value === undefined ? (known ? scan + ": n/a" : "")
      : scan + ": " + shortest(value) + ", place " + (row.ranks.get(scan) + 1) + " of " + row.order.length
        + (row.strip.flagged[scan] ? " (" + row.strip.flagged[scan] + ")" : "");
    draw(row);
  }
}

const list = document.getElementById("scans");
for (const scan of scans) { list.append(new Option(scan, scan)); }
find.addEventListener("input", () => choose(find.value.trim()));
find.form.addEventListener("submit", (event) => event.preventDefault());
addEventListener("resize", () => rows.forEach(draw));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => rows.forEach(draw));
const named = () => { const scan = decodeURIComponent(location.hash.slice(1)); if (scan in decisions) { choose(scan); } };
addEventListener("hashchange", named);
rows.forEach(draw);
named();
