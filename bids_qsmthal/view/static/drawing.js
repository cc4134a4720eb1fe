// A label as the page holds it: the header of its NIfTI file and a byte a voxel, axes to R, A and S.
const HEADER = 352;
// Where NIfTI-1 keeps its numbers: the shape, and three rows of the affine.
const [SHAPE, ROWS] = [42, 280];

export class Drawing {
  constructor(content) {
    this.header = content.slice(0, HEADER);
    this.voxels = new Uint8Array(content, HEADER);
    const view = new DataView(this.header);
    this.shape = [0, 2, 4].map((at) => view.getInt16(SHAPE + at, true));
  }

  // Whether the voxels of another one are at the same places.
  lieson(other) {
    const places = (one) => String([...new Uint8Array(one.header, SHAPE - 2, 8), ...new Float32Array(one.header, ROWS, 12)]);
    return Boolean(other) && places(this) === places(other);
  }

  // The file of some voxels on its grid. Slices on which nothing is drawn stay out: of a thalamus
  // most are, and to pack and send them takes longer than to measure it.
  file(voxels, values, whole = false) {
    const size = this.shape[0] * this.shape[1];
    const [low, high] = whole ? [0, this.shape[2] - 1] : this.slices(voxels, values, size);
    const made = new Uint8Array(HEADER + (high - low + 1) * size);
    made.set(new Uint8Array(this.header));
    made.set(voxels.subarray(low * size, (high + 1) * size), HEADER);
    const view = new DataView(made.buffer);
    view.setInt16(SHAPE + 4, high - low + 1, true);
    for (let row = 0; row < 3; row += 1) {
      const [step, first] = [8, 12].map((at) => ROWS + 16 * row + at);
      view.setFloat32(first, view.getFloat32(first, true) + low * view.getFloat32(step, true), true);
    }
    return made;
  }

  // The first and the last slice with a number from 1 to `values`; the first one where there is none.
  slices(voxels, values, size) {
    const numbers = Array.from({ length: values }, (_, at) => at + 1);
    const first = numbers.map((value) => voxels.indexOf(value)).filter((at) => at >= 0);
    const last = numbers.map((value) => voxels.lastIndexOf(value));
    const slice = (at) => Math.floor(at / size);
    return first.length ? [slice(Math.min(...first)), slice(Math.max(...last))] : [0, 0];
  }
}
