import re

import numpy as np
import pytest

from bids_qsmthal.core.image import Image
from bids_qsmthal.report import (
    AnatomyMaps,
    GreMaps,
    LesionMaps,
    Registration,
    anatomy_figures,
    gre_figures,
    scan_figures,
)
from tests.report.test_mosaic import embedded


def constant(value: float) -> Image:
    return Image(np.full((12, 10, 8), value, np.float32), np.diag([2.0, 2.0, 2.0, 1.0]))


@pytest.mark.parametrize(("chi_ppm", "gray"), [(0.05, 191), (-0.05, 64), (0.0, 128), (0.5, 255)])
def test_susceptibility_is_shown_in_parts_per_billion(chi_ppm: float, gray: int) -> None:
    figure = gre_figures.susceptibility(GreMaps(chi_ppm=constant(chi_ppm), brain=constant(1)))
    assert abs(int(embedded(figure.content)[5, 5, 0]) - gray) <= 1


def test_the_field_window_is_symmetric_and_holds_the_field() -> None:
    field_hz = constant(-7.0)
    figure = gre_figures.local_field(GreMaps(local_field_hz=field_hz, brain=constant(1)))
    assert "Window: \u221210 to 10, field (Hz)." in figure.caption
    assert abs(int(embedded(figure.content)[5, 5, 0]) - round(255 * 0.15)) <= 1


def test_the_moving_scan_is_shown_where_its_matrix_puts_it(head) -> None:
    fixed = head["bright"]
    shift = np.eye(4)
    shift[:3, 3] = (8.0, 0.0, 0.0)  # moving world -> fixed world
    moving = Image(fixed.data, np.linalg.inv(shift) @ fixed.affine)
    right = Registration(name="a to b", fixed=fixed, moving=moving, matrix=shift)
    flicker = scan_figures.registration(right)
    same = embedded(flicker.first.content).astype(int), embedded(flicker.second.content).astype(int)
    assert np.abs(same[0] - same[1]).mean() < 1
    wrong = Registration(name="a to b", fixed=fixed, moving=moving, matrix=np.linalg.inv(shift))
    moved = embedded(scan_figures.registration(wrong).second.content).astype(int)
    assert np.abs(same[0] - moved).mean() > 10


def test_figures_of_a_registration_are_said_in_words(head) -> None:
    quality = {"information_start": 1.05, "information": 1.14, "overlap": 0.978, "shift_mm": 2.06}
    pair = Registration(
        name="a to b",
        fixed=head["bright"],
        moving=head["bright"],
        matrix=np.eye(4),
        quality={**quality, "cost": 0.5},
        shown=("a", "b, registered to it"),
    )
    shown = scan_figures.registration(pair)
    titles = (shown.first.title, shown.second.title)
    assert titles == ("a", "b, registered to it")
    assert shown.caption.endswith(
        " The scan was moved by 2.1 mm to fit. Brain masks agree to 98 %; expected: 85 % and more."
    )


def test_fat_of_the_scalp_darkens_no_brain_of_a_registration(head) -> None:
    bright, brain = head["bright"], head["brain"]
    scalp = bright.like(np.where(brain.data > 0, bright.data, 100 * bright.data.max()))
    pair = Registration(
        name="a to b",
        fixed=scalp,
        moving=scalp,
        matrix=np.eye(4),
        outlines={"brain": brain},
    )
    least = np.percentile(bright.data[brain.data > 0], 90)
    for figure in (both := scan_figures.registration(pair)).first, both.second:
        top = float(re.search(r"Window: 0 to ([\d,.]+), signal", figure.caption).group(1))
        assert least < top <= 1.01 * bright.data.max()


def test_left_and_right_of_a_structure_share_a_colour_and_a_name(head) -> None:
    maps = AnatomyMaps(t1w=head["bright"], deep_gray=head["deepgray"])
    figure = anatomy_figures.deep_gray(maps)
    assert figure.alt.endswith("with thalamus marked.")


def test_what_was_not_found_is_said(head) -> None:
    nothing = head["lesion"].like(np.zeros_like(head["lesion"].data))
    maps = LesionMaps(flair=head["bright"], lesions=nothing)
    assert "No lesion was found." in scan_figures.lesions(maps, head["brain"]).caption
    maps = LesionMaps(t1w=head["bright"], ce_t1w=head["bright"], enhancing=nothing)
    said = scan_figures.enhancement(maps, head["brain"]).caption
    assert "No enhancing lesion was found." in said


def test_a_tilt_is_stated(head) -> None:
    straight = gre_figures.susceptibility(GreMaps(chi_ppm=constant(0.0)))
    tilted = gre_figures.susceptibility(GreMaps(chi_ppm=head["chi"]))
    assert "tilted" not in straight.caption
    assert "Slices are tilted by 9\u00b0." in tilted.caption


def test_sources_apart_are_shown_together_or_not_at_all() -> None:
    plus, minus = constant(0.080), constant(-0.040)
    figure = gre_figures.sources_apart(GreMaps(paramagnetic_ppm=plus, diamagnetic_ppm=minus))
    assert figure is not None
    assert "0 to 100, paramagnetic (ppb)" in figure.caption
    assert "0 to 80, diamagnetic, size (ppb)" in figure.caption
    assert gre_figures.sources_apart(GreMaps(paramagnetic_ppm=plus)) is None
    # The diamagnetic source is negative; what is shown is its size, half of the window.
    strips = gre_figures.sources_shown(plus, minus, None)
    shades = [strip.window.colored(strip.values())[..., 0] for strip in strips]
    assert [float(np.median(shade)) for shade in shades] == pytest.approx([204, 127.5], abs=1)
