"""A figure drawn once and played to several kinds of file is the figure drawn for each."""

from __future__ import annotations

import io
import re

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Circle
from matplotlib.text import Text

from bids_qsmthal.report.recording import Recorded


def busy() -> Canvas:
    """Return a figure with each thing that figures of the group level are made of."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2, 700))
    canvas = Canvas(figsize=(5, 4))
    left, right = canvas.subplots(1, 2)
    left.scatter(x[:60], y[:60], s=rng.uniform(4, 40, 60), c=x[:60], alpha=0.6)
    left.scatter(x[60:90], y[60:90], s=12, color="green", linewidths=0)
    left.plot([-2, 2], [-1, 1], "--", color="black", linewidth=1.4, clip_on=True)
    left.fill_between([-2, 0, 2], [-1, -0.2, 0], [0, 0.4, 1], alpha=0.2)
    left.errorbar([0, 1], [0, 1], xerr=[[0.2, 0.1], [0.3, 0.4]], fmt="s", capsize=3)
    left.set(title="what is there", xlabel="below", ylabel="beside", xlim=(-1.5, 1.5))
    circle = Circle((1.5, 10), 1.2, transform=right.transData)
    right.hexbin(np.exp(x), np.exp(y), gridsize=12, bins="log", mincnt=1, yscale="log")
    for lines in right.plot([0.5, 3], [1, 100], marker="o", markersize=9):
        lines.set_clip_path(circle)
    right.annotate("here", (1, 1), (3, 10), arrowprops={"arrowstyle": "->"})
    right.set_xlim(0, 4)
    return canvas


def silent(canvas: Canvas) -> Canvas:
    for text in canvas.findobj(Text):
        text.set_visible(False)
    return canvas


def pixels(canvas: Canvas, dpi: float) -> np.ndarray:
    canvas.set_dpi(dpi)
    drawn = FigureCanvasAgg(canvas)
    drawn.draw()
    return np.asarray(drawn.buffer_rgba()).astype(int)


def saved(canvas: Canvas, kind: str) -> bytes:
    stream = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"CreationDate": None}
    looks = {"svg.hashsalt": "a", "svg.fonttype": "none", "pdf.compression": 0, "pdf.fonttype": 42}
    with mpl.rc_context(looks):
        canvas.savefig(stream, format=kind, metadata=metadata)
    return stream.getvalue()


def test_the_same_bytes_of_svg_come_from_a_recording_as_from_the_figure() -> None:
    assert saved(Recorded(busy()), "svg") == saved(busy(), "svg")


@pytest.mark.parametrize("dpi", [72, 300])
def test_a_recording_has_the_pixels_of_the_figure_but_for_its_texts(dpi: float) -> None:
    difference = np.abs(pixels(Recorded(silent(busy())), dpi) - pixels(silent(busy()), dpi))
    # Lines that lie between two pixels may round to the other.
    assert np.mean(difference.max(axis=2) > 8) < 1e-4


def test_texts_of_a_recording_stand_within_a_point_and_a_half_of_the_figures() -> None:
    canvas = Canvas(figsize=(4, 2))
    canvas.text(0.95, 0.5, "ends here (n = 95)", ha="right", va="center", fontsize=9)
    canvas.text(0.05, 0.9, "starts here", ha="left", va="top", fontsize=9)
    recorded = pixels(Recorded(canvas), 300)[..., 0] < 128
    direct = pixels(canvas, 300)[..., 0] < 128
    for axis in (0, 1):
        ends = [np.flatnonzero(one.any(axis=axis))[[0, -1]] for one in (recorded, direct)]
        assert np.abs(ends[0] - ends[1]).max() <= 1.5 * 300 / 72


def test_a_pdf_of_a_recording_draws_what_the_figure_draws() -> None:
    # What each page does, without the numbers of its objects: letters are tested with pixels.
    found, expected = (
        re.findall(rb"stream\n(.*?)\nendstream", saved(one, "pdf"), re.DOTALL)
        for one in (Recorded(silent(busy())), silent(busy()))
    )
    assert len(found) == len(expected)
    assert max(found, key=len) == max(expected, key=len)


def test_a_recording_of_an_image_is_refused_and_none_is_lost() -> None:
    canvas = Canvas()
    canvas.subplots().imshow(np.eye(3))
    with pytest.raises(NotImplementedError):
        Recorded(canvas)
