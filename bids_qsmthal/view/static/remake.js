// A participant that is run again on the server: how far it is, and what it changed.
import { read, send } from "./requests.js";

const POLL_MS = 1000;
const element = (id) => document.getElementById(id);
const number = (value) => (value === null ? "n/a" : String(Number(value.toPrecision(6))));

export class Remake {
  // `ended` is called once for every run that was seen running.
  constructor(said, ended) {
    this.said = said;
    this.ended = ended;
    this.timer = 0;
    element("stop").addEventListener("click", () => this.ask("DELETE", "api/remake"));
  }

  start(name) {
    return this.ask("POST", `api/remake/${name}`, JSON.stringify({ group: element("group").checked }));
  }

  async ask(method, address, body) {
    try { this.show(await send(method, address, body)); } catch (error) { this.said(error); }
  }

  // Also when the page was loaded again in the middle of a run.
  async look() {
    try { this.show(await read("api/remake")); } catch (error) { this.said(error); }
  }

  show(run) {
    clearTimeout(this.timer);
    element("run").hidden = !run;
    if (!run) { return; }
    const before = this.running;
    this.running = run.running;
    element("remake").disabled = run.running;
    element("stop").hidden = !run.running;
    element("runs").textContent = run.running ? `${run.name} is being remade.` : `${run.name}: ${run.ending}.`;
    element("runs").className = run.running || run.done ? "" : "exclude";
    // A run that ended well has nothing more to say than its numbers.
    element("lines").hidden = run.done;
    element("lines").textContent = run.lines.join("\n");
    this.table(run.changes);
    if (run.running) { this.timer = setTimeout(() => this.look(), POLL_MS); }
    if (before && !run.running) { this.ended(run); }
  }

  table(changes) {
    element("changes").parentElement.hidden = !changes.length;
    const lines = changes.map((change) => {
      const line = document.createElement("tr");
      const cells = [change.scan, change.measure, change.region, change.hemisphere];
      for (const text of [...cells, number(change.before), number(change.after), change.unit]) {
        line.appendChild(document.createElement("td")).textContent = text;
      }
      return line;
    });
    element("changes").tBodies[0].replaceChildren(...lines);
  }
}
