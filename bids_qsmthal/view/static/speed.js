// What NiiVue does otherwise or more often than this page needs (times: benchmarks/view.py).

// NiiVue makes the gradients of every new map for its volume rendering, which this page has not:
// without a graphics card they take twice as long as all the rest. Triangles outside of the view
// make no pixel.
export const withoutGradients = (nv) => {
  const vertex = "#version 300 es\nvoid main() { gl_Position = vec4(2.0, 2.0, 2.0, 1.0); }";
  const fragment = "#version 300 es\nprecision lowp float;\nout vec4 color;\nvoid main() { color = vec4(0.0); }";
  for (const name of ["blurShader", "sobelFirstOrderShader"]) {
    nv[name] = new nv[name].constructor(nv.gl, vertex, fragment);
  }
};

// During a stroke in an axial slice only that slice changes: it alone goes to the graphics card,
// not the whole head with every movement of the mouse, and it is drawn once a frame.
export const withSmallSteps = (nv) => {
  const [draw, refresh] = [nv.drawScene.bind(nv), nv.refreshDrawing.bind(nv)];
  const stroking = () => nv.drawPenAxCorSag === 0 && Number.isFinite(nv.drawPenLocation[2]);
  let waiting = false;
  nv.drawScene = () => {
    if (!stroking()) { return draw(); }
    if (!waiting) {
      waiting = true;
      requestAnimationFrame(() => { waiting = false; draw(); });
    }
  };
  nv.refreshDrawing = (drawn = true, growing = false) => {
    if (growing || !stroking() || nv.opts.is2DSliceShader) { return refresh(drawn, growing); }
    const { gl, back: { dims }, drawPenLocation: [, , slice] } = nv;
    const size = dims[1] * dims[2];
    gl.activeTexture(gl.TEXTURE7);
    gl.bindTexture(gl.TEXTURE_3D, nv.drawTexture);
    const voxels = nv.drawBitmap.subarray(slice * size, (slice + 1) * size);
    gl.texSubImage3D(gl.TEXTURE_3D, 0, 0, 0, slice, dims[1], dims[2], 1, gl.RED, gl.UNSIGNED_BYTE, voxels);
    if (drawn) { nv.drawScene(); }
  };
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
