// The viewer of one scan: a map, a label as the drawing on it, and what the drawing measures.
import { Drawing } from "./drawing.js";
import { GRAY, Maps, nifti, smallest } from "./maps.js";
import { inverse, moved, placed } from "./planes.js";
import { bytes, packed, read, send } from "./requests.js";
import {
  drawnOnce, loadVoxels, withDrawingOnTop, withGivenWindow, withLastingCanvas, withoutGradients,
  withSmallSteps, withTableOfGrays,
} from "./speed.js";

const element = (id) => document.getElementById(id);

// One colour for each value of a label: its sides, or its kinds of change.
export const colors = (label) => label.shades;

// A table of colours for the numbers from 1; 0 is seen through.
const table = (given) => {
  const part = (hex, start) => parseInt(hex.slice(start, start + 2), 16);
  const all = ["#000000", ...given];
  const of = (start) => all.map((hex) => part(hex, start));
  return {
    R: of(1), G: of(3), B: of(5),
    A: all.map((_, value) => (value ? 255 : 0)),
    I: all.map((_, value) => value), labels: all.map((_, value) => String(value)),
  };
};

// Which label, and which version of it, as in the addresses of the server.
const which = (key, begin) => (begin ? `${key}/${begin}` : key);

export class Viewer {
  constructor(said) {
    this.said = said;
    this.asked = 0;
    this.turn = 0;
    this.maps = new Maps();
    this.nv = new niivue.Niivue({
      backColor: [0, 0, 0, 1],
      crosshairWidth: 0.6,
      crosshairColor: [1, 1, 1, 0.7],
      isOrientationTextVisible: true,
      multiplanarShowRender: niivue.SHOW_RENDER.NEVER,
      dragAndDropEnabled: false,
      logLevel: "error",
    });
    this.nv.onDrawingChanged = (action) => {
      // Loading and closing a drawing change no label.
      if (this.label && action !== "load" && action !== "close") {
        this.changed = true;
        this.measure();
      }
    };
    this.nv.onLocationChange = (place) => this.tell(place);
  }

  // Once: while a reader still looks at the table, or when the first scan is opened.
  attach() { return (this.attached ??= this.attachment()); }

  async attachment() {
    withLastingCanvas(element("canvas"));
    withGivenWindow(niivue.NVImage);
    this.nv.addColormap("opaque", GRAY);
    await this.nv.attachTo("canvas");
    withoutGradients(this.nv);
    withTableOfGrays(this.nv);
    withSmallSteps(this.nv);
    withDrawingOnTop(this.nv);
    this.nv.setInterpolation(true);
    this.nv.setDrawOpacity(Number(element("opacity").value));
    await this.rehearse();
  }

  // What draws a map and a label is compiled when it is first used: here for eight voxels of nothing,
  // not when a reader waits for a scan.
  async rehearse() {
    const map = await smallest();
    await drawnOnce(this.nv, () => {
      this.nv.addVolume(map);
      loadVoxels(this.nv, new Uint8Array(map.nVox3D));
    });
    this.clear();
  }

  // What opens quickly if it is the next.
  async expect(row) {
    if (!row?.folder || row.name === this.opened) { return; }
    const wish = this.wish = row.name;
    const scan = await read(`api/scan/${row.name}`);
    // Something was opened, or is expected, instead.
    if (wish !== this.wish || !scan.labels.length) { return; }
    const [{ key, space }] = scan.labels;
    this.maps.ahead(row, scan.backgrounds[space], key);
  }

  // What comes next; what is shown stays whole until that is loaded.
  async open(row, writable) {
    [this.wish, this.opened] = [null, row.name];
    const scan = await read(`api/scan/${row.name}`);
    this.next = { row, scan };
    this.writable = writable;
    return scan;
  }

  // Begins with the label as it counts now, with the run's own, or with an earlier version. Returns
  // false where something else was asked for meanwhile.
  async show(key, begin = "") {
    const turn = ++this.turn;
    const { row, scan } = this.next;
    const label = scan.labels.find((one) => one.key === key);
    const own = scan.backgrounds[label.space];
    // The map below stays where the next label is of the same grid.
    const same = this.scan === scan && this.label?.space === label.space;
    const below = which(key, begin);
    let [background, { content, version }] = await Promise.all([
      same ? null : this.maps.image(row, own, below), bytes(`api/label/${row.name}/${below}.nii.gz`),
    ]);
    const drawing = new Drawing(content);
    if (!background && !drawing.lieson(this.drawing)) { background = await this.maps.image(row, own, below); }
    await this.attach();
    if (turn !== this.turn) { return false; }
    const head = await this.head(row, key, element("planes").value);
    if (turn !== this.turn) { return false; }
    this.asked += 1;
    element("numbers").textContent = "";
    delete element("numbers").dataset.found;
    Object.assign(this, { row, scan, label, version, drawing, below, toHead: head });
    await drawnOnce(this.nv, () => {
      if (background) { this.clear(); }
      this.colored(label);
      if (background) {
        this.nv.addVolume(placed(background, head));
        this.nv.opts.isSliceMM = element("planes").value !== "scan";
        [this.shown, this.over] = [own, null];
      }
      loadVoxels(this.nv, drawing.voxels);
      this.nv.setDrawingEnabled(this.writable);
      this.pen();
    });
    // The value at the crosshair is of this map now.
    this.nv.createOnLocationChange();
    // Another beginning than what counts is a change, once it is saved.
    this.changed = begin !== "";
    [this.piece, this.confirmed, this.rejected, this.pieces] = [-1, new Set(), new Set(), []];
    // Numbers follow the image, which does not wait for them.
    this.measured = this.measure();
    if (element("outlines").checked) { await this.layers(); }
    return true;
  }

  // The way of the scan's world to that of the head, where slices are cut in its planes.
  async head(row, key, planes) {
    return planes === "head" ? (await read(`api/head/${row.name}/${key}`)).matrix : null;
  }

  async planes(name) {
    const turn = ++this.turn;
    const head = await this.head(this.row, this.label.key, name);
    if (turn !== this.turn) { return; }
    // The crosshair stays on its voxel.
    const here = this.nv.frac2vox(this.nv.scene.crosshairPos);
    this.toHead = head;
    for (const map of this.nv.volumes) { placed(map, head); }
    this.nv.setSliceMM(name !== "scan");
    this.nv.scene.crosshairPos = this.nv.vox2frac(here);
    this.nv.createOnLocationChange();
    this.nv.drawScene();
  }

  clear() {
    if (this.nv.drawBitmap) { this.nv.closeDrawing(); }
    while (this.nv.volumes.length) { this.nv.removeVolume(this.top); }
  }

  colored(label) {
    const name = String(colors(label));
    if (name === this.lut) { return; }
    // Every map is drawn anew for another table of colours, so only where it is another one.
    this.lut = name;
    this.nv.setDrawColormap(table(colors(label)));
  }

  async choose(key) {
    this.shown = key;
    this.over = null;
    await this.layers();
  }

  // The map of the label's grid stays below: the drawing lies on it. Another map lies over it, and
  // the outlines of the other labels over that.
  async layers() {
    const { key, space } = this.label;
    const other = this.shown !== this.scan.backgrounds[space];
    if (other) { this.over ??= await this.maps.image(this.row, this.shown, this.below); }
    const edges = element("outlines").checked ? await this.outlines(key) : null;
    while (this.nv.volumes.length > 1) { this.nv.removeVolume(this.top); }
    if (this.over) {
      this.over.opacity = Number(element("mix").value);
      this.nv.addVolume(placed(this.over, this.toHead));
    }
    if (edges) { this.nv.addVolume(placed(edges, this.toHead)); }
  }

  async outlines(key) {
    const { content } = await bytes(`api/outlines/${this.row.name}/${key}.nii.gz`);
    const edges = await nifti(content, "outlines");
    edges.setColormapLabel(table(this.scan.colors.map((one) => one.color)));
    return edges;
  }

  mix(share) {
    if (this.over) { this.nv.setOpacity(1, share); }
  }

  // The eye sees what moves: one map, then the other.
  blink() {
    if (this.over) { this.mix(this.over.opacity > 0 ? 0 : Number(element("mix").value)); }
  }

  get top() { return this.nv.volumes[this.nv.volumes.length - 1]; }

  // The map that black and white are of.
  get map() { return this.over ?? this.nv.volumes[0]; }

  // The server's tools take the drawing as it is; what they make can be undone like a stroke.
  async tool(path) {
    const address = `api/tool/${this.row.name}/${this.label.key}/${path}`;
    const { content } = await bytes(address, { method: "POST", body: await this.drawn(true) });
    this.nv.drawBitmap.set(new Drawing(content).voxels);
    this.drew();
  }

  // One pen's mark where the crosshair is: drawing without a mouse.
  mark() {
    if (!this.writable || !this.nv.drawBitmap) { return; }
    this.nv.drawPenAxCorSag = 0;
    this.nv.drawPt(...this.nv.frac2vox(this.nv.scene.crosshairPos), this.nv.opts.penValue);
    this.drew();
  }

  drew() {
    this.nv.drawAddUndoBitmap();
    this.nv.refreshDrawing(true);
    this.changed = true;
    this.measured = this.measure();
  }

  within() { return this.tool(`within/${this.shown}/${this.map.cal_min}/${this.map.cal_max}`); }

  // Pieces of lesions, or whole lesions, from the largest to the smallest; or those that are drawn.
  go(step, drawn = false) {
    const count = this.pieces?.length;
    if (!count || (drawn && !this.pieces.some((one) => one.value))) { return; }
    do { this.piece = (this.piece + step + count) % count; } while (drawn && !this.pieces[this.piece].value);
    const piece = this.pieces[this.piece];
    // Of the world, also where slices are those of the scan: NiiVue would take the scan for straight.
    this.nv.scene.crosshairPos = this.nv.mm2frac(moved(this.toHead, piece.mm), 0, true);
    this.nv.createOnLocationChange();
    this.nv.drawScene();
    const known = this.label.whole ? `, ${this.called(piece.value)}` : "";
    const confirmed = this.confirmed.has(String(piece.mm)) ? ", confirmed" : "";
    this.said(`Lesion ${this.piece + 1} of ${count}: ${piece.volume_mm3.toFixed(0)} mm³${known}${confirmed}`);
  }

  called(value) {
    if (!value) { return "not drawn"; }
    return this.label.values.length > 1 ? this.label.values[value - 1] : "drawn";
  }

  get here() { return this.pieces?.[Math.max(0, this.piece)]; }

  async confirm() {
    const piece = this.here;
    if (!piece || !this.writable) { return; }
    // What is drawn is confirmed as it is; of several things that another can be, the pen says which.
    if (this.label.whole && !piece.value) { await this.tool(`lesion/${piece.number}/${this.nv.opts.penValue || 1}`); }
    this.confirmed.add(String(piece.mm));
    this.rejected.delete(String(piece.mm));
    await this.onward(1);
  }

  async reject() {
    const piece = this.here;
    if (!piece || !this.writable) { return; }
    if (!this.label.whole) {
      await this.tool(`reject/${piece.mm.map((at) => at.toFixed(3)).join("/")}`);
    } else if (piece.value) {
      await this.tool(`lesion/${piece.number}/0`);
    }
    this.confirmed.delete(String(piece.mm));
    this.rejected.add(String(piece.mm));
    // A piece that is gone leaves its place to the next one.
    await this.onward(this.label.whole ? 1 : 0);
  }

  async onward(step) {
    this.piece = Math.max(0, this.piece);
    await this.measured;
    this.go(step);
  }

  get decided() {
    const [yes, no] = [this.confirmed.size, this.rejected.size];
    return yes || no ? `confirmed ${yes}, rejected ${no}` : "";
  }

  pen() {
    // Not by NiiVue's function, which draws the picture anew.
    Object.assign(this.nv.opts, {
      penValue: Number(element("pen").value), isFilledPen: element("fill").checked,
      penSize: Number(element("size").value) || 1,
    });
  }

  // The file that the server takes: of all slices, or of those on which something is drawn.
  drawn(whole = false) {
    return packed(this.drawing.file(this.nv.drawBitmap, this.label.values.length, whole));
  }

  async measure() {
    if (!this.label || !this.nv.drawBitmap) { return; }
    const asked = ++this.asked;
    const address = `api/numbers/${this.row.name}/${this.label.key}`;
    try {
      const body = await this.drawn();
      if (asked !== this.asked) { return; }
      const found = await send("POST", address, body);
      // An answer that a later stroke or another label has overtaken is not shown.
      if (asked === this.asked) { this.report(found); }
    } catch (error) {
      if (asked === this.asked) { this.said(error); }
    }
  }

  report(found) {
    const one = (value, unit) => (value === null ? "n/a" : `${value.toFixed(2)} ${unit}`);
    const parts = found.parts.map((part) => {
      const mean = part.mean_ppb === null ? "" : `, mean ${one(part.mean_ppb, "ppb")}`;
      return `${part.name}: ${part.voxels} voxels, ${one(part.volume_mm3, "mm³")}${mean}`;
    });
    if (found.relative_ppb) {
      const relative = Object.entries(found.relative_ppb).map(([side, value]) => `${side} ${one(value, "ppb")}`);
      parts.push(`relative susceptibility of the thalamus: ${relative.join(", ")}`);
    }
    if (found.pieces) {
      const drawn = found.pieces.filter((piece) => piece.value).length;
      parts.push(this.label.whole ? `${drawn} of ${found.pieces.length} lesions` : `${drawn} lesions or pieces`);
    }
    this.pieces = found.pieces ?? [];
    element("numbers").textContent = parts.join("; ");
    element("numbers").dataset.found = JSON.stringify(found);
  }

  tell(place) {
    const map = this.scan?.maps.find((one) => one.key === this.shown);
    const value = place.values[this.over ? 1 : 0]?.value;
    const mm = moved(inverse(this.toHead), [...place.mm].slice(0, 3)).map((number) => number.toFixed(1)).join(", ");
    const here = map && Number.isFinite(value) ? `: ${map.title} ${value.toFixed(1)} ${map.unit}` : "";
    element("place").textContent = `${mm} mm${here}`;
  }

  async save(reader, reason) {
    const headers = { "If-Match": this.version, "X-Reader": reader, "X-Reason": reason };
    const address = `api/label/${this.row.name}/${this.label.key}`;
    const saved = await send("PUT", address, await this.drawn(), headers);
    this.version = `"${saved.version}"`;
    this.changed = false;
    return saved.path;
  }
}
