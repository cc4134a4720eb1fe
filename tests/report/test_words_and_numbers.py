"""What the page says is what the table says: tiles, captions, legends, axes, methods."""

from __future__ import annotations

import html
import json
import re

import numpy as np
import pandas as pd
import pytest

from tests import pictures
from tests.seam import NAME, Study, voxels

MINUS = "\u2212"


@pytest.fixture(params=["tiny", pytest.param("seam", marks=pytest.mark.slow)])
def study(request: pytest.FixtureRequest) -> Study:
    made: Study = request.getfixturevalue(f"{request.param}_study")
    return made


def drawn(study: Study, name: str) -> pictures.Figure:
    return pictures.read_file(study.figures / f"{NAME}_{name}.svg")


def number(text: str) -> float:
    return float(text.replace(MINUS, "-").replace(",", ""))


def tiles(study: Study) -> dict[str, str]:
    """Return the tiles at the head of the page: label to value and note."""
    text = (study.out / f"{NAME}.html").read_text()
    plain = html.unescape(re.sub(r"<(script|style).*?</\1>", "", text, flags=re.DOTALL))
    found = {}
    for label in ("Relative susceptibility", "Left thalamus", "Right thalamus", "Thalamic volume",
                  "Gray matter volume", "Cortical thickness", "Lesion volume",
                  "Enhancing lesions"):  # fmt: skip
        begin = plain.find(f">{label}<")
        if begin < 0:
            continue  # what was not measured has no tile
        rest = re.sub(r"<[^>]*>", " ", plain[begin + len(label) + 1 : begin + 600])
        found[label] = " ".join(rest.split())
    return found


def test_the_tiles_are_the_numbers_of_the_table(study: Study) -> None:
    shown = tiles(study)
    for label, side in (
        ("Relative susceptibility", "LR"),
        ("Left thalamus", "L"),
        ("Right thalamus", "R"),
    ):
        value = study.value("chi_relative_csf", "thalamus", side)
        assert shown[label].startswith(f"{value:.1f} ppb".replace("-", MINUS)), label
    low, high = (
        study.value(f"chi_relative_csf_ci_{end}", "thalamus", "LR") for end in ("low", "high")
    )
    assert f"{low:.1f} to {high:.1f} ppb".replace("-", MINUS) in shown["Relative susceptibility"]
    volume_ml = study.value("volume", "thalamus", "LR") / 1000
    assert shown["Thalamic volume"].startswith(f"{volume_ml:.2f} mL")


@pytest.mark.slow
def test_the_tiles_of_anatomy_and_lesions_are_the_numbers_of_the_table(seam_study: Study) -> None:
    shown = tiles(seam_study)
    gray_ml = seam_study.value("volume", "gray_matter") / 1000
    assert shown["Gray matter volume"].startswith(f"{gray_ml:.0f} mL")
    thickness_mm = seam_study.value("thickness_mean", "cortex", "LR")
    assert shown["Cortical thickness"].startswith(f"{thickness_mm:.2f} mm")
    lesion_ml = seam_study.value("volume", "lesion") / 1000
    count = seam_study.value("lesion_count", "lesion")
    assert shown["Lesion volume"].startswith(f"{lesion_ml:.2f} mL {count:.0f} connected lesions")
    enhancing = seam_study.value("enhancing_count", "enhancing")
    assert shown["Enhancing lesions"].startswith(f"{enhancing:.0f}")


def test_the_histogram_names_the_means_of_the_table(study: Study) -> None:
    words = drawn(study, "desc-regions_histogram").words()
    for name, region, side in (
        ("left thalamus", "thalamus", "L"),
        ("right thalamus", "thalamus", "R"),
        ("CSF reference", "csf_reference", "LR"),
    ):
        (said,) = (word for word in words if word.startswith(f"{name}: "))
        found = re.fullmatch(r".*: mean (\S+), SD (\S+), (\d+) voxels", said)
        assert found, said
        row = study.row("chi_mean", region, side)
        assert number(found.group(1)) == pytest.approx(float(row["value"]), abs=0.06)
        spread = study.value("chi_sd", region, side)
        assert number(found.group(2)) == pytest.approx(spread, rel=0.02, abs=0.06)
        assert found.group(3) == str(row["n_voxels"])


def test_the_chart_of_choices_names_every_variant_of_the_table(study: Study) -> None:
    figure = drawn(study, "desc-sensitivity_chart")
    path = study.anat / f"{NAME}_desc-qsmthal_sensitivity.tsv"
    table = pd.read_csv(path, sep="\t", keep_default_na=False)
    both = table[table["hemisphere"] == "LR"]
    names = [
        f"{choice}: {variant}" if choice != variant else variant
        for choice, variant in zip(both["choice"], both["variant"], strict=True)
    ]
    shown = [text for text in figure.texts if text.text in names]
    assert [text.text for text in sorted(shown, key=lambda text: text.y)] == names
    assert "relative susceptibility (ppb)" in figure.words()


BARS = {
    "desc-chi_Chimap": ("susceptibility (ppb)", (-100, 100)),
    "desc-r2star_R2starmap": ("R2* (1/s)", (0, 60)),
    "desc-phase_MEGRE": ("phase (rad)", (-3.14, 3.14)),
    "desc-total_fieldmap": ("field (Hz)", None),
    "desc-local_fieldmap": ("field (Hz)", None),
}


@pytest.mark.parametrize("name", BARS)
def test_a_colour_bar_has_its_unit_and_its_ends(study: Study, name: str) -> None:
    label, ends = BARS[name]
    figure = drawn(study, name)
    assert label in figure.words()
    ticks = [text for text in figure.texts if re.fullmatch(rf"{MINUS}?[\d.,]+", text.text)]
    low, middle, high = (number(t.text) for t in sorted(ticks, key=lambda text: -text.y))
    assert middle == pytest.approx((low + high) / 2)
    if ends is not None:
        assert (low, high) == ends
    bar = figure.rasters[-1]
    assert bar.brightness[0].mean() > 250  # what is bright is above
    assert bar.brightness[-1].mean() < 5
    page = html.unescape((study.out / f"{NAME}.html").read_text())
    shown = " to ".join(f"{end:g}" for end in (low, high)).replace("-", MINUS)
    assert f"Window: {shown}, {label}." in page


@pytest.mark.parametrize("name", ["desc-total_fieldmap", "desc-local_fieldmap"])
def test_a_pixel_has_the_value_that_the_colour_bar_gives_it(study: Study, name: str) -> None:
    figure = drawn(study, name)
    values = [
        number(text.text) for text in figure.texts if re.fullmatch(rf"{MINUS}?[\d.,]+", text.text)
    ]
    limit = max(values)
    data = voxels(study.made(name))
    inside = data[data != 0]
    assert 0.9 < (np.abs(inside) <= limit).mean() < 1
    gray = figure.rasters[0].brightness
    shown = gray[(gray > 0) & (gray < 255)] / 255 * 2 * limit - limit
    nearest = np.median(shown[np.abs(shown) > 2 * limit / 255])
    assert abs(nearest - np.median(inside)) < 0.35 * limit


def test_echoes_are_titled_with_their_times(study: Study) -> None:
    times_ms = sorted(
        {
            1000 * json.loads(path.read_text())["EchoTime"]
            for path in study.bids.rglob("*MEGRE.json")
        }
    )
    words = drawn(study, "desc-magnitude_MEGRE").words()
    for place in (1, len(times_ms)):
        assert f"echo {place} of {len(times_ms)}, TE {times_ms[place - 1]:.1f} ms" in words


def test_the_viewer_holds_the_map_in_parts_per_billion(study: Study) -> None:
    text = (study.figures / f"{NAME}_viewer.html").read_text()
    data = re.search(r'<script type="application/json" id="images">(.*?)</script>', text, re.DOTALL)
    assert data
    layers = {layer["name"]: layer for layer in json.loads(data.group(1))}
    assert layers["susceptibility"]["unit"] == "ppb"
    assert (layers["susceptibility"]["low"], layers["susceptibility"]["high"]) == (-100, 100)
    assert layers["R2*"]["unit"] == "1/s"
    sizes = {"left thalamus": 1, "right thalamus": 2}
    final = voxels(study.made("space-MEGRE_desc-thalamus_dseg"))
    for name, value in sizes.items():
        image = pictures.packed_image(layers[name]["content"])
        assert voxels(image).sum() == (final == value).sum()
