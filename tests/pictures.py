"""Figures read back as a reader sees them: words as text or by their glyphs, pixels, lines."""

from __future__ import annotations

import base64
import gzip
import io
import re
import string
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from xml.etree import ElementTree as ET

import matplotlib as mpl
import nibabel as nib
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure as Canvas
from PIL import Image as Picture

SVG = "{http://www.w3.org/2000/svg}"
HREF = "{http://www.w3.org/1999/xlink}href"
ALPHABET = string.ascii_letters + string.digits + string.punctuation + "\u2212\u00b0\u00b1\u2265"
LIGATURES = ("ffi", "ffl", "ff", "fi", "fl")

CALL = re.compile(r"(\w+)\(([^)]*)\)")
NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")


@dataclass(frozen=True)
class Text:
    """A line of text and where it begins, in points from the upper left corner."""

    text: str
    x: float
    y: float


@dataclass(frozen=True, eq=False)
class Raster:
    """An image of a figure: RGB, the first row on top, and where its pixels are."""

    pixels: np.ndarray
    left: float
    top: float
    pixel: tuple[float, float]

    @property
    def bottom(self) -> float:
        return self.top + self.pixels.shape[0] * self.pixel[1]

    @property
    def right(self) -> float:
        return self.left + self.pixels.shape[1] * self.pixel[0]

    def places(self, chosen: np.ndarray) -> np.ndarray:
        """Return x and y of the middles of chosen pixels, shape (n, 2)."""
        rows, columns = np.nonzero(chosen)
        return np.column_stack(
            [
                self.left + (columns + 0.5) * self.pixel[0],
                self.top + (rows + 0.5) * self.pixel[1],
            ]
        )

    @property
    def brightness(self) -> np.ndarray:
        return self.pixels.astype(float).mean(axis=-1)

    def tinted(self, color: str, others: list[str]) -> np.ndarray:
        """Return which pixels have the hue of a colour rather than of others."""
        hues = [_hue(np.array(to_rgb(name)) * 255) for name in (color, *others)]
        agreement = np.stack([_hue(self.pixels.astype(float)) @ hue for hue in hues], -1)
        return self.colourful & (agreement.argmax(axis=-1) == 0)

    @property
    def colourful(self) -> np.ndarray:
        return np.ptp(self.pixels.astype(int), axis=-1) > 25


@dataclass(frozen=True, eq=False)
class Line:
    """A stroked path: its colour and its points."""

    color: str
    points: np.ndarray


@dataclass(frozen=True, eq=False)
class Figure:
    """What is on a figure."""

    texts: list[Text]
    rasters: list[Raster]
    lines: list[Line]

    def words(self) -> list[str]:
        return [text.text for text in self.texts]

    def named_color(self, name: str) -> str:
        """Return the colour of the line that stands before a name in the legend."""
        (label,) = (text for text in self.texts if text.text == name)
        before = [
            line
            for line in self.lines
            if np.ptp(line.points[:, 1]) < 12
            and abs(line.points[:, 1].mean() - label.y) < 8
            and line.points[:, 0].max() < label.x
        ]
        return max(before, key=lambda line: line.points[:, 0].max()).color


def _hue(color: np.ndarray) -> np.ndarray:
    """Return the direction of colours away from gray."""
    away = color - color.mean(axis=-1, keepdims=True)
    return away / np.maximum(np.linalg.norm(away, axis=-1, keepdims=True), 1e-9)


def read(content: bytes) -> Figure:
    """Read an SVG figure."""
    root = ET.fromstring(content)  # noqa: S314 - our own figure
    shapes = {
        element.get("id"): element.get("d", "")
        for element in root.iter(f"{SVG}path")
        if element.get("id")
    }
    found = Figure([], [], [])
    _walk(root, np.eye(3), shapes, found)
    return found


def read_file(path: Path) -> Figure:
    return read(path.read_bytes())


def _walk(
    element: ET.Element, place: np.ndarray, shapes: dict[str | None, str], found: Figure
) -> None:
    place = place @ _matrix(element.get("transform", ""))
    found.texts.extend(_glyphs(element, place, shapes))
    if element.tag == f"{SVG}text" and element.text:
        found.texts.append(_plain_text(element, place))
    if element.tag == f"{SVG}image":
        found.rasters.append(_raster(element, place))
    stroke = re.search(r"stroke: (#\w+)", element.get("style", ""))
    if element.tag == f"{SVG}path" and stroke and element.get("id") is None:
        for part in re.split(r"(?=M)", element.get("d", "")):
            numbers = np.array([float(number) for number in NUMBER.findall(part)])
            if numbers.size >= 4 and not re.search("[QCZ]", part):
                points = numbers[: numbers.size // 2 * 2].reshape(-1, 2)
                points = points @ place[:2, :2].T + place[:2, 2]
                found.lines.append(Line(stroke.group(1).lower(), points))
    for child in element:
        if child.tag != f"{SVG}defs":
            _walk(child, place, shapes, found)


def _glyphs(element: ET.Element, place: np.ndarray, shapes: dict[str | None, str]) -> list[Text]:
    glyphs = [child for child in element if child.tag == f"{SVG}use"]
    written = [shapes.get((use.get(HREF) or "")[1:]) for use in glyphs]
    if not glyphs or not all(shape is not None and shape in alphabet() for shape in written):
        return []
    x, y = (place @ _matrix(glyphs[0].get("transform", "")) @ (0, 0, 1))[:2]
    text = "".join(alphabet()[shape] for shape in written if shape is not None)
    return [Text(text, float(x), float(y))]


def _plain_text(element: ET.Element, place: np.ndarray) -> Text:
    x, y = (place @ (float(element.get("x", 0)), float(element.get("y", 0)), 1))[:2]
    return Text(element.text or "", float(x), float(y))


def _matrix(transform: str) -> np.ndarray:
    whole = np.eye(3)
    for name, values in CALL.findall(transform):
        numbers = [float(value) for value in NUMBER.findall(values)]
        step = np.eye(3)
        if name == "translate":
            step[:2, 2] = (*numbers, 0.0)[:2]
        elif name == "scale":
            step[0, 0], step[1, 1] = numbers[0], numbers[-1]
        elif name == "rotate":
            cos, sin = np.cos(np.radians(numbers[0])), np.sin(np.radians(numbers[0]))
            step[:2, :2] = [[cos, -sin], [sin, cos]]
        elif name == "matrix":
            step[:2] = np.array(numbers).reshape(3, 2).T
        whole = whole @ step
    return whole


def _raster(element: ET.Element, place: np.ndarray) -> Raster:
    content = base64.b64decode((element.get(HREF) or "").partition("base64,")[2])
    with Picture.open(io.BytesIO(content)) as opened:
        pixels = np.asarray(opened.convert("RGB"))
    rows, columns = pixels.shape[:2]
    across = float(element.get("width", columns)) / columns
    down = float(element.get("height", rows)) / rows
    x, y = float(element.get("x", 0)), float(element.get("y", 0))
    first = place @ (x, y, 1)
    last = place @ (x + across * columns, y + down * rows, 1)
    if last[0] < first[0]:
        pixels = pixels[:, ::-1]
    if last[1] < first[1]:
        pixels = pixels[::-1]
    width, height = abs(last - first)[:2]
    return Raster(
        pixels,
        float(min(first[0], last[0])),
        float(min(first[1], last[1])),
        (float(width) / columns, float(height) / rows),
    )


@cache
def alphabet() -> dict[str, str]:
    """Return what each outline of the font means."""
    stream = io.BytesIO()
    canvas = Canvas()
    with mpl.rc_context({"svg.fonttype": "path"}):
        for letter in (*ALPHABET, *LIGATURES, "a b"):
            canvas.text(0.5, 0.5, letter, parse_math=False)
        canvas.savefig(stream, format="svg")
    root = ET.fromstring(stream.getvalue())  # noqa: S314 - drawn above
    shapes = {path.get("id"): path.get("d", "") for path in root.iter(f"{SVG}path")}
    groups = [
        [shapes[(use.get(HREF) or "")[1:]] for use in group if use.tag == f"{SVG}use"]
        for group in root.iter(f"{SVG}g")
    ]
    *others, three = [shapes for shapes in groups if shapes]
    letters = zip(others, (*ALPHABET, *LIGATURES), strict=True)
    return {three[1]: " "} | {shapes[0]: text for shapes, text in letters if len(shapes) == 1}


def packed_image(content: str) -> nib.Nifti1Image:
    """Read an image as the viewer's page holds it: base64 of a compressed NIfTI file."""
    return nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(content)))
