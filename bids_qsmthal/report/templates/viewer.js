"use strict";

(async () => {
  const said = document.getElementById("location");
  const images = JSON.parse(document.getElementById("images").textContent);
  const viewer = new niivue.Niivue({
    backColor: [0, 0, 0, 1],
    crosshairWidth: 0.6,
    crosshairColor: [1, 1, 1, 0.7],
    isOrientationTextVisible: true,
    isCornerOrientationText: true,
    fontColor: [1, 1, 1, 1],
    fontMinPx: 18,
    multiplanarShowRender: niivue.SHOW_RENDER.NEVER,
    logLevel: "error",
  });
  try {
    await viewer.attachTo("canvas");
  } catch (error) {
    said.textContent = "This browser cannot draw the viewer (no WebGL 2).";
    return;
  }

  const solid = (hex) => {
    const part = (start) => parseInt(hex.slice(start, start + 2), 16);
    const ends = (value) => [value, value];
    return { R: ends(part(1)), G: ends(part(3)), B: ends(part(5)), A: [0, 255], I: [0, 255] };
  };
  const volumes = new Map();
  for (const image of images) {
    const colormap = image.color ? "solid" + image.color : "gray";
    if (image.color) { viewer.addColormap(colormap, solid(image.color)); }
    const volume = await niivue.NVImage.loadFromBase64({
      base64: image.content,
      name: image.name + ".nii.gz",
      colormap,
      cal_min: image.low,
      cal_max: image.high,
      opacity: image.color ? 0.5 : 1,
    });
    viewer.addVolume(volume);
    volumes.set(image.name, { ...image, volume });
  }
  const maps = [...volumes.values()].filter((image) => !image.color);
  const regions = [...volumes.values()].filter((image) => image.color);
  viewer.setInterpolation(true);

  const low = document.getElementById("low");
  const high = document.getElementById("high");
  const opacity = document.getElementById("opacity");
  let current = maps[0];
  const paint = () => {
    for (const map of maps) { map.volume.opacity = map === current ? 1 : 0; }
    for (const box of document.querySelectorAll(".region")) {
      volumes.get(box.value).volume.opacity = box.checked ? Number(opacity.value) : 0;
    }
    viewer.updateGLVolume();
  };
  const choose = (name) => {
    current = volumes.get(name);
    low.value = current.volume.cal_min;
    high.value = current.volume.cal_max;
    paint();
  };
  const rewindow = () => {
    if (Number(high.value) > Number(low.value)) {
      current.volume.cal_min = Number(low.value);
      current.volume.cal_max = Number(high.value);
      paint();
    }
  };
  low.addEventListener("change", rewindow);
  high.addEventListener("change", rewindow);
  opacity.addEventListener("input", paint);
  for (const box of document.querySelectorAll(".region")) { box.addEventListener("change", paint); }
  for (const choice of document.querySelectorAll("[name=map]")) {
    choice.addEventListener("change", () => choose(choice.value));
  }
  const views = {
    all: niivue.SLICE_TYPE.MULTIPLANAR,
    axial: niivue.SLICE_TYPE.AXIAL,
    coronal: niivue.SLICE_TYPE.CORONAL,
    sagittal: niivue.SLICE_TYPE.SAGITTAL,
  };
  for (const choice of document.querySelectorAll("[name=view]")) {
    choice.addEventListener("change", () => viewer.setSliceType(views[choice.value]));
  }
  document.getElementById("smooth").addEventListener("change", (event) => {
    viewer.setInterpolation(!event.target.checked);
  });

  document.getElementById("radiological").addEventListener("change", (event) => {
    viewer.setRadiologicalConvention(event.target.checked);
  });

  viewer.onLocationChange = (place) => {
    const mm = [...place.mm].slice(0, 3).map((value) => value.toFixed(1)).join(", ");
    const values = images.map((image, number) => [image, place.values[number].value]);
    const numbers = values.filter(([image]) => !image.color)
      .map(([image, value]) => `${image.name} ${Math.round(value)} ${image.unit}`);
    const inside = values.filter(([image, value]) => image.color && value > 0.5)
      .map(([image]) => image.name);
    said.textContent = `${mm} mm: ${numbers.join(", ")}${inside.length ? "; in " + inside.join(", ") : ""}`;
  };
  choose(maps[0].name);
  viewer.createOnLocationChange();
  document.documentElement.dataset.ready = String(viewer.volumes.length);
})();
