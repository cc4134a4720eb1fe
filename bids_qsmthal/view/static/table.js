// The table of participants. A page of rows at a time, so that 5,000 make no long document.

const ROWS = 100;
const element = (id) => document.getElementById(id);

export class Table {
  constructor(opened) {
    this.rows = [];
    this.shown = [];
    this.key = "name";
    this.up = true;
    this.first = 0;
    this.opened = opened;
    for (const button of document.querySelectorAll("[data-sort]")) {
      button.addEventListener("click", () => this.sort(button.dataset.sort));
    }
    for (const id of ["find", "verdict", "rated"]) {
      element(id).addEventListener("input", () => this.refresh());
    }
    element("earlier").addEventListener("click", () => this.turn(-ROWS));
    element("later").addEventListener("click", () => this.turn(ROWS));
  }

  fill(rows) {
    this.rows = rows;
    this.refresh(this.first);
  }

  sort(key) {
    this.up = key === this.key ? !this.up : true;
    this.key = key;
    this.refresh();
  }

  turn(step) {
    this.first = Math.max(0, Math.min(this.first + step, this.shown.length - 1));
    this.draw();
  }

  neighbour(name, step) {
    const here = this.shown.findIndex((row) => row.name === name);
    return this.shown[here + step];
  }

  // The scan of a line.
  at(line) { return this.shown[this.first + line.sectionRowIndex]; }

  // To the line of a scan, on the page of rows that it is on now.
  focus(name) {
    const here = this.shown.findIndex((row) => row.name === name);
    if (here < 0) { return; }
    this.first = here - (here % ROWS);
    this.draw();
    element("rows").rows[here - this.first].querySelector("button").focus();
  }

  refresh(first = 0) {
    const [word, verdict, rated] = ["find", "verdict", "rated"].map((id) => element(id).value);
    const kept = (row) =>
      row.name.toLowerCase().includes(word.toLowerCase()) &&
      (!verdict || (row.verdict || "failed") === verdict) &&
      (!rated || (rated === "yes") === Boolean(row.rating));
    this.shown = this.rows.filter(kept).sort((one, other) => this.compared(one, other));
    this.first = first < this.shown.length ? first : 0;
    this.draw();
  }

  value(row) {
    if (this.key === "warnings") { return row.warnings.length; }
    if (this.key === "rating") { return row.rating ? row.rating.decision : ""; }
    return row[this.key];
  }

  compared(one, other) {
    const [a, b] = [this.value(one), this.value(other)];
    // Scans without a number come last in both directions.
    if (a === null || b === null) { return (a === null) - (b === null); }
    const order = typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
    return this.up ? order : -order;
  }

  draw() {
    const part = this.shown.slice(this.first, this.first + ROWS);
    element("rows").replaceChildren(...part.map((row) => this.line(row)));
    const last = Math.min(this.first + ROWS, this.shown.length);
    const from = this.shown.length ? this.first + 1 : 0;
    element("page").textContent = `${from} to ${last} of ${this.shown.length}`;
    element("earlier").disabled = this.first === 0;
    element("later").disabled = last === this.shown.length;
    for (const button of document.querySelectorAll("[data-sort]")) {
      const sorted = button.dataset.sort === this.key;
      const order = this.up ? "ascending" : "descending";
      button.parentElement.setAttribute("aria-sort", sorted ? order : "none");
    }
  }

  line(row) {
    const line = document.createElement("tr");
    const cell = (text, kind = "") => {
      const made = line.appendChild(document.createElement("td"));
      made.textContent = text;
      made.className = kind;
      return made;
    };
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = row.name;
    button.addEventListener("click", () => this.opened(row));
    cell("").append(button);
    const verdict = row.verdict || "failed";
    cell(verdict, verdict);
    cell(row.number_ppb === null ? "n/a" : row.number_ppb.toFixed(1), "number");
    cell(row.warnings.length, "number").title = row.warnings.join("\n");
    cell(row.rating ? `${row.rating.decision} (${row.rating.reader})` : "");
    return line;
  }
}
