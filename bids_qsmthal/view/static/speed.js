// What NiiVue does otherwise or more often than this page needs (times: benchmarks/view.py).

// NiiVue makes the gradients of every new map for its volume rendering, which this page has not:
// without a graphics card they take longer than all the rest. Their two images get one pixel a slice.
export const withoutGradients = (nv) => {
  const [textures, make] = [[nv.gl.TEXTURE6, nv.gl.TEXTURE8], nv.rgbaTex.bind(nv)];
  nv.rgbaTex = (old, unit, dims, ...more) =>
    make(old, unit, textures.includes(unit) ? [dims[0], 1, 1, dims[3]] : dims, ...more);
};

// NIfTI's number for numbers of 16 bits with a sign, of which there are so many.
export const DT_INT16 = 4;
const [NUMBERS, LOWEST] = [2 ** 16, -(2 ** 15)];

// A byte for every voxel: how bright it is between black and white.
const grays = ({ img, hdr, cal_min: black, cal_max: white }) => {
  // Rounded and clamped by the kind of the array.
  const table = new Uint8ClampedArray(NUMBERS);
  const [slope, first] = [hdr.scl_slope, hdr.scl_inter + LOWEST * hdr.scl_slope - black];
  const bright = 255 / (white - black);
  for (let at = 0; at < NUMBERS; at += 1) { table[at] = (first + at * slope) * bright; }
  const made = new Uint8Array(img.length);
  for (let at = 0; at < made.length; at += 1) { made[at] = table[img[at] - LOWEST]; }
  return made;
};

const grayTexture = (gl, old, [, ...shape], voxels) => {
  if (old) { gl.deleteTexture(old); }
  const made = gl.createTexture();
  gl.activeTexture(gl.TEXTURE0);
  gl.bindTexture(gl.TEXTURE_3D, made);
  // Not that with which a texture begins, which needs smaller copies of it; NiiVue chooses another
  // where voxels are to be seen as such.
  for (const end of ["MIN", "MAG"]) { gl.texParameteri(gl.TEXTURE_3D, gl[`TEXTURE_${end}_FILTER`], gl.LINEAR); }
  for (const axis of ["R", "S", "T"]) { gl.texParameteri(gl.TEXTURE_3D, gl[`TEXTURE_WRAP_${axis}`], gl.CLAMP_TO_EDGE); }
  gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
  gl.texImage3D(gl.TEXTURE_3D, 0, gl.LUMINANCE, ...shape, 0, gl.LUMINANCE, gl.UNSIGNED_BYTE, voxels);
  return made;
};

// NiiVue makes the colours of the lowest map by drawing it slice by slice: without a graphics card
// half a second at the study's matrix, with every change of its window. Maps of the server are gray,
// axes as on the screen, in numbers of 16 bits: their grays are looked up in a table, in a tenth of
// the time, and take a fourth of the memory.
export const withTableOfGrays = (nv) => {
  const refresh = nv.refreshLayers.bind(nv);
  nv.refreshLayers = (map, layer) => {
    const known = map.hdr.datatypeCode === DT_INT16 && map.colormap === "opaque" && String(map.permRAS) === "1,2,3";
    if (layer > 0 || !known) { return refresh(map, layer); }
    const { gl, rgbaTex } = nv;
    const [voxels, nothing] = [grays(map), () => {}];
    nv.rgbaTex = (old, unit, dims, ...more) =>
      (unit === gl.TEXTURE0 ? grayTexture(gl, old, dims, voxels) : rgbaTex(old, unit, dims, ...more));
    Object.assign(gl, { drawArrays: nothing, texSubImage3D: nothing });
    try { refresh(map, layer); } finally {
      nv.rgbaTex = rgbaTex;
      // Those of the kind of the context are seen again.
      delete gl.drawArrays;
      delete gl.texSubImage3D;
    }
  };
};

// The server says in the header what is black and white. NiiVue reads every voxel all the same, for
// limits that nobody asks for.
export const withGivenWindow = (nvImage) => {
  const measured = nvImage.prototype.calMinMax;
  nvImage.prototype.calMinMax = function calMinMax(...given) {
    const [low, high] = [this.hdr.cal_min, this.hdr.cal_max];
    if (!(high > low)) { return measured.apply(this, given); }
    Object.assign(this, {
      cal_min: low, cal_max: high, robust_min: low, robust_max: high, global_min: low, global_max: high,
    });
    return [low, high, low, high];
  };
};

// What was drawn stays on the canvas, so that a part of it can be drawn anew. NiiVue takes the
// context that the canvas has.
export const withLastingCanvas = (canvas) => {
  const antialias = navigator.hardwareConcurrency > 6;
  canvas.getContext("webgl2", { alpha: true, antialias, preserveDrawingBuffer: true });
};

// Many changes, one picture: nothing is drawn until the work is done.
export const drawnOnce = async (nv, work) => {
  const draw = nv.drawScene;
  nv.drawScene = () => {};
  try { await work(); } finally { nv.drawScene = draw; }
  nv.drawScene();
};

// NiiVue would go through the voxels one by one to bring them into the order that they have here.
export const loadVoxels = (nv, voxels) => {
  if (String(nv.back.permRAS) !== "1,2,3" || voxels.length !== nv.back.nVox3D) {
    throw new Error("The label has another grid than the map.");
  }
  nv.drawClearAllUndoBitmaps();
  nv.drawBitmap = voxels;
  nv.drawTexture = nv.r8Tex(nv.drawTexture, nv.gl.TEXTURE7, nv.back.dims);
  nv.drawAddUndoBitmap();
  nv.refreshDrawing(true);
};

// A voxel and a half of the pen's edge, and what the screen smoothes.
const SPARE_PX = 4;

// Where the pen went since the last picture, in pixels of the canvas. The first picture of a stroke
// is of its whole view, without the crosshair, which would else move over what is drawn.
class Trail {
  constructor(nv) {
    this.nv = nv;
    this.points = [];
    this.begun = false;
  }

  get view() { return this.nv.screenSlices.find((one) => one.axCorSag === this.nv.drawPenAxCorSag); }

  // [left, top, width, height] of what has to be drawn anew; the last point is where the pen is.
  taken() {
    const { leftTopWidthHeight: [left, top, width, height], fovMM } = this.view;
    if (!this.begun) { this.begun = true; return [left, top, width, height]; }
    const voxel = Math.max(...this.nv.back.pixDims.slice(1, 4)) * Math.max(width / fovMM[0], height / fovMM[1]);
    const pad = SPARE_PX + voxel * (this.nv.opts.penSize + 1);
    const [xs, ys] = [0, 1].map((axis) => this.points.map((point) => point[axis]));
    const [x0, y0] = [Math.max(left, Math.min(...xs) - pad), Math.max(top, Math.min(...ys) - pad)];
    const x1 = Math.min(left + width, Math.max(...xs) + pad);
    const y1 = Math.min(top + height, Math.max(...ys) + pad);
    this.points = this.points.slice(-1);
    return [Math.floor(x0), Math.floor(y0), Math.max(0, Math.ceil(x1 - x0) + 1), Math.max(0, Math.ceil(y1 - y0) + 1)];
  }
}

// During a stroke only a slice changes: it alone goes to the graphics card, not the whole head with
// every movement of the mouse, and what is near the pen is drawn, once a frame.
export const withSmallSteps = (nv) => {
  const [draw, refresh, clear, click] = ["drawScene", "refreshDrawing", "clearBounds", "mouseClick"].map((name) => nv[name].bind(nv));
  const stroking = () => nv.drawPenAxCorSag >= 0 && Number.isFinite(nv.drawPenLocation[0]);
  let [trail, only, waiting] = [null, null, false];
  nv.mouseClick = (x, y, ...more) => {
    trail?.points.push([x * nv.uiData.dpr, y * nv.uiData.dpr]);
    return click(x, y, ...more);
  };
  // All that NiiVue draws is cut to what has to be drawn anew; it clears first.
  nv.clearBounds = (mask, ...more) => {
    if (!only) { return clear(mask, ...more); }
    const [{ gl }, [left, top, width, height]] = [nv, only];
    gl.enable(gl.SCISSOR_TEST);
    gl.scissor(left, gl.canvas.height - top - height, width, height);
    gl.clearColor(...nv.opts.backColor);
    gl.clear(mask);
  };
  const near = () => {
    const width = nv.opts.crosshairWidth;
    [only, nv.opts.crosshairWidth] = [trail.taken(), 0];
    try { draw(); } finally {
      nv.gl.disable(nv.gl.SCISSOR_TEST);
      [only, nv.opts.crosshairWidth] = [null, width];
    }
  };
  nv.drawScene = () => {
    if (!stroking()) { trail = null; return draw(); }
    trail ??= new Trail(nv);
    if (waiting) { return; }
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      if (trail?.view) { near(); } else { draw(); }
    });
  };
  nv.refreshDrawing = (drawn = true, growing = false) => {
    if (growing || !stroking() || nv.opts.is2DSliceShader) { return refresh(drawn, growing); }
    slice(nv, 2 - nv.drawPenAxCorSag);
    if (drawn) { nv.drawScene(); }
  };
};

// Send the slice across an axis at which the pen is.
const slice = (nv, axis) => {
  const { gl, back: { dims: [, ...shape] } } = nv;
  const [from, size] = [[0, 0, 0], [...shape]];
  [from[axis], size[axis]] = [nv.drawPenLocation[axis], 1];
  gl.activeTexture(gl.TEXTURE7);
  gl.bindTexture(gl.TEXTURE_3D, nv.drawTexture);
  const steps = { ROW_LENGTH: shape[0], IMAGE_HEIGHT: shape[1], SKIP_PIXELS: from[0], SKIP_ROWS: from[1], SKIP_IMAGES: from[2] };
  for (const [name, value] of Object.entries(steps)) { gl.pixelStorei(gl[`UNPACK_${name}`], value); }
  gl.texSubImage3D(gl.TEXTURE_3D, 0, ...from, ...size, gl.RED, gl.UNSIGNED_BYTE, nv.drawBitmap);
  for (const name of Object.keys(steps)) { gl.pixelStorei(gl[`UNPACK_${name}`], 0); }
};

// NiiVue blends the drawing with the lowest map, and other maps cover both: who draws on FLAIR would
// not see the label. Here the drawing comes last.
export const withDrawingOnTop = (nv) => {
  const { gl, sliceMMShader: { program } } = nv;
  const sources = gl.getAttachedShaders(program).map((shader) => gl.getShaderSource(shader));
  const blend = "color.rgb = mix(color.rgb, dcolor.rgb, dcolor.a);";
  const end = /color\.a = a;\s*\}\s*$/;
  const fragment = sources.find((source) => source.includes(blend) && end.test(source));
  if (!fragment) { throw new Error("This NiiVue draws in another way; the page must be adapted to it."); }
  nv.setCustomSliceShader(fragment.replace(blend, "").replace(end, `color.a = a;\n${blend}\n}\n`));
};
