import base64
import io
import re

import numpy as np
import pytest
from PIL import Image as Picture

from bids_qsmthal.core.image import Image
from bids_qsmthal.report import charts, mosaic
from bids_qsmthal.report.mosaic import Heat, Overlay, Strip, Window
from bids_qsmthal.report.slices import cut

WINDOW = Window(-100.0, 100.0, "susceptibility (ppb)")


def embedded(svg: bytes) -> np.ndarray:
    """The raster image of the slices as it is seen, top row first."""
    first = re.search(rb'base64,([A-Za-z0-9+/=]+)".*?matrix\(([^)]*)\)', svg, re.DOTALL)
    assert first is not None
    content = io.BytesIO(base64.b64decode(first.group(1)))
    rows = np.asarray(Picture.open(content).convert("RGB"))
    across, _, _, down = (float(number) for number in first.group(2).split()[:4])
    assert across > 0
    return rows if down > 0 else rows[::-1]


@pytest.fixture
def ramp() -> Image:
    data = np.broadcast_to(np.linspace(-150, 150, 31, dtype=np.float32)[:, None, None], (31, 20, 1))
    return Image(np.ascontiguousarray(data), np.eye(4))


def test_the_window_is_what_the_colour_bar_says(ramp) -> None:
    where = cut(ramp, show=None, through=None, count=1)
    pixels = embedded(mosaic.draw([Strip(where, WINDOW)]))
    row = pixels[10, 1:32].astype(float).mean(axis=1)
    expected = 255 * (np.clip(np.linspace(-150, 150, 31), -100, 100) + 100) / 200
    np.testing.assert_allclose(row, expected, atol=1.5)


def test_left_is_left_in_the_file_as_well(ramp) -> None:
    where = cut(ramp, show=None, through=None, count=1)
    pixels = embedded(mosaic.draw([Strip(where, WINDOW)]))
    assert pixels[10, 3].mean() < pixels[10, 28].mean()


def test_the_front_of_the_head_is_up(ramp) -> None:
    upward = Image(np.ascontiguousarray(np.swapaxes(ramp.data, 0, 1)), np.eye(4))
    where = cut(upward, show=None, through=None, count=1)
    pixels = embedded(mosaic.draw([Strip(where, WINDOW)]))
    assert pixels[3, 10].mean() > pixels[28, 10].mean()


def test_a_tint_and_a_heat_map_colour_their_voxels_alone(ramp) -> None:
    gray = ramp.like(np.zeros_like(ramp.data))
    mask = ramp.like((np.indices(ramp.shape)[0] < 10).astype(np.uint8))
    where = cut(gray.like(gray.data + 1), show=None, through=None, count=1)
    tinted = Overlay(mask, "left", "#FF0000", filled=True)
    heat = Heat(mask.like(mask.data * 2.0), Window(0, 4, "mm", "viridis"))
    for strip in (Strip(where, WINDOW, (tinted,)), Strip(where, WINDOW, heat=heat)):
        pixels = embedded(mosaic.draw([strip])).astype(int)[5:15, 1:32]
        coloured = np.ptp(pixels, axis=-1) > 10
        assert coloured[:, :9].all()
        assert not coloured[:, 11:].any()


def test_the_border_of_an_edged_tint_has_the_colour_of_the_legend(ramp) -> None:
    # Over black and over white: a tint alone would be another colour in either.
    mask = ramp.like((np.indices(ramp.shape)[0] < 10).astype(np.uint8))
    where = cut(ramp.like(ramp.data * 0 + 1), show=None, through=None, count=1)
    for level in (0.0, 1e6):
        shown = ramp.like(np.full_like(ramp.data, level))
        overlay = Overlay(mask, "left", "#56B4E9", filled=True, edged=True)
        pixels = embedded(mosaic.draw([Strip(where, WINDOW, (overlay,), other=shown)]))
        true = (pixels == [0x56, 0xB4, 0xE9]).all(axis=-1)
        assert true.any()
        # Inside, the image is seen through it.
        assert not true[10, 5]


@pytest.mark.parametrize("filled", [True, False])
def test_the_legend_names_what_is_in_the_slices_alone(ramp, *, filled: bool) -> None:
    place = np.indices(ramp.shape)
    # All is in the image, but only one of them in the slice that is shown.
    where = cut(ramp.like(ramp.data * 0 + 1), show=None, through=None, count=1)
    shown = np.isin(place[where.axis], where.indices)
    inside = place[(where.axis + 1) % 3] < 5
    overlays = [
        Overlay(ramp.like(mask.astype(np.uint8)), name, "#FFFFFF", filled=filled)
        for name, mask in (
            ("seen", inside & shown),
            ("lesions", inside & ~shown),
            ("none", np.zeros_like(shown)),
        )
    ]
    svg = mosaic.draw([Strip(where, WINDOW, overlays)]).decode()
    assert ("seen" in svg, "lesions" in svg, "none</" in svg) == (True, False, False)


def test_a_legend_is_read_row_by_row(ramp, monkeypatch: pytest.MonkeyPatch) -> None:
    where = cut(ramp.like(ramp.data * 0 + 1), show=None, through=None, count=1)
    everywhere = ramp.like(np.ones(ramp.shape, np.uint8))
    names = [
        f"the {place} entry of a legend" for place in ("1st", "2nd", "3rd", "4th", "5th", "6th")
    ]
    overlays = [Overlay(everywhere, name, "#FFFFFF", filled=True) for name in names]
    placed: list[tuple[float, float, str]] = []
    monkeypatch.setattr(
        mosaic.drawing, "to_svg", lambda canvas: placed.extend(texts(canvas)) or b""
    )
    mosaic.draw([Strip(where, WINDOW, overlays)])
    assert [name for _, _, name in sorted(placed)] == names
    assert len({row for row, _, _ in placed}) == 2


def texts(canvas) -> list[tuple[float, float, str]]:
    """Return the entries of the legend with their rows from the top and their places in it."""
    canvas.draw_without_rendering()
    boxes = ((text.get_window_extent(), text.get_text()) for text in canvas.legends[0].get_texts())
    return [(-round(box.y0 / 5), box.x0, name) for box, name in boxes]


def test_an_outline_of_one_label_leaves_the_others_out(ramp) -> None:
    labels = ramp.like(np.where(np.indices(ramp.shape)[0] < 10, 10, 49).astype(np.int16))
    where = cut(ramp.like(ramp.data * 0 + 1), show=None, through=None, count=1)
    share = Overlay(labels, "left", "#FFFFFF", value=10).tiles(where)[0]
    assert share[:, :9].min() == 1
    assert share[:, 10:].max() == 0


def test_the_same_figure_is_the_same_bytes_without_dates_or_programs(head) -> None:
    def draw() -> bytes:
        where = cut(head["chi"], show=head["brain"], through=None, count=4)
        marks = (Overlay(head["thalamus"], "thalamus", "#F0E442", value=1),)
        return mosaic.draw([Strip(where, WINDOW, marks, "title")])

    first = draw()
    charts.histogram({"a": np.arange(9.0)}, "x", (0, 9))
    assert draw() == first
    assert b"<dc:date>" not in first
    assert b"Matplotlib v" not in first


def test_charts_are_repeatable_and_survive_a_missing_interval() -> None:
    def draw() -> bytes:
        return charts.intervals(
            ["a", "b"], np.array([1.0, 2.0]), np.array([0.5, np.nan]), "relative susceptibility"
        )

    assert draw() == draw()
