"""Figures in the space of the gradient echo: from the signal to the regions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bids_qsmthal.core import colors
from bids_qsmthal.report import panels
from bids_qsmthal.report.mosaic import Overlay, Strip, Window
from bids_qsmthal.report.numbers import fixed
from bids_qsmthal.report.slices import Cut, cut

if TYPE_CHECKING:
    from bids_qsmthal.core.image import Image
    from bids_qsmthal.report.contents import GreMaps, RegionMasks
    from bids_qsmthal.report.page import Figure

CHI_WINDOW = Window(-100.0, 100.0, "susceptibility (ppb)")
R2STAR_WINDOW = Window(0.0, 60.0, "R2* (1/s)")
PARAMAGNETIC_WINDOW = Window(0.0, 100.0, "paramagnetic (ppb)")
DIAMAGNETIC_WINDOW = Window(0.0, 80.0, "diamagnetic, size (ppb)")
"""White matter has 35 to 50 ppb. The pallidum, with 130 of the other sign, may be white: thalamus
and cortex, with 20, would else be black."""

# One whole turn, so that a wrap shows as a jump from white to black.
PHASE_WINDOW = Window(-np.pi, np.pi, "phase (rad)")

ECHOES_SHOWN = 3
AROUND_MM = 22.0
"""What is shown around the regions: enough to recognise the place."""


def magnitude(gre: GreMaps) -> Figure | None:
    """Show the magnitude of the first, middle and last echo."""
    if gre.magnitude is None:
        return None
    strips = []
    for number, image in _echoes(gre.magnitude):
        where = cut(image, show=gre.brain, through=None, count=6)
        strips.append(
            Strip(where, panels.bright(image, gre.brain, "signal"), (), _echo_title(gre, number))
        )
    return panels.figure(
        strips,
        "Gradient-echo magnitude",
        "desc-magnitude_MEGRE",
        "Signal should fall smoothly from echo to echo. Look for motion (ghosts, stripes), dark "
        "holes above the sinuses and ears, and slices that are missing.",
    )


def phase(gre: GreMaps) -> Figure | None:
    """Show the measured phase of the first, middle and last echo."""
    if gre.phase_rad is None:
        return None
    strips = []
    for number, image in _echoes(gre.phase_rad):
        where = cut(image, show=gre.brain, through=None, count=6)
        strips.append(Strip(where, PHASE_WINDOW, (), _echo_title(gre, number)))
    return panels.figure(
        strips,
        "Gradient-echo phase",
        "desc-phase_MEGRE",
        "Phase in the convention of this app (scale, sign and slices corrected). Bands from "
        "black to white are wraps and normal; they become denser with echo time. Noise without "
        "bands inside the brain, or slices that alternate, are not normal.",
    )


def masks(gre: GreMaps) -> Figure | None:
    """Show the brain mask and the mask that was inverted, on the magnitude."""
    if gre.magnitude is None or gre.brain is None:
        return None
    _, image = _echoes(gre.magnitude)[0]
    overlays = [Overlay(gre.brain, "brain", colors.BRAIN)]
    if gre.qsm_mask is not None:
        overlays.append(Overlay(gre.qsm_mask, "in the susceptibility map", colors.SKY, line="--"))
    strip = Strip(
        cut(image, show=gre.brain, through=None),
        panels.bright(image, gre.brain, "signal"),
        overlays,
    )
    return panels.figure(
        [strip],
        "Masks",
        "desc-brain_mask",
        "The outline should follow the brain's surface, with neither skull nor missing brain.",
    )


def total_field(gre: GreMaps) -> Figure | None:
    """Show the unwrapped field."""
    return _field_map(
        gre.total_field_hz,
        gre,
        "Total field",
        "desc-total_fieldmap",
        "Unwrapped and fitted over the echoes. It should be smooth; edges that jump by a whole "
        "window are errors of unwrapping.",
    )


def local_field(gre: GreMaps) -> Figure | None:
    """Show the field that is left without its background."""
    return _field_map(
        gre.local_field_hz,
        gre,
        "Local field",
        "desc-local_fieldmap",
        "After removal of the background field. No broad shading should be left near the rim.",
    )


def susceptibility(gre: GreMaps) -> Figure | None:
    """Show the susceptibility map."""
    if gre.chi_ppm is None:
        return None
    chi_ppb = in_ppb(gre.chi_ppm)
    strip = Strip(cut(chi_ppb, show=gre.brain, through=None), CHI_WINDOW)
    return panels.figure(
        [strip],
        "Susceptibility",
        "desc-chi_Chimap",
        "Bright is paramagnetic: iron in the basal ganglia, blood in veins. Streaks and broad "
        f"shadows are artefacts.{_zero(gre.chi_ppm, gre.qsm_mask)}",
    )


def _zero(chi_ppm: Image, mask: Image | None) -> str:
    """Say where the zero of a map lies."""
    inside = None if mask is None else mask.data > 0
    if inside is None or not inside.any():
        return ""
    mean_ppb = 1000 * float(chi_ppm.data[inside].mean(dtype=np.float64))
    return (
        f" The mean of all voxels is {fixed(mean_ppb, 1)} ppb, which says where the zero of the "
        "map lies: only differences between regions count."
    )


def relaxation(gre: GreMaps) -> Figure | None:
    """Show R2*."""
    if gre.r2star_per_s is None:
        return None
    strip = Strip(cut(gre.r2star_per_s, show=gre.brain, through=None), R2STAR_WINDOW)
    return panels.figure(
        [strip],
        "R2*",
        "desc-r2star_R2starmap",
        "A second, independent view of iron. Bright areas above the sinuses are signal loss.",
    )


def sources_apart(gre: GreMaps) -> Figure | None:
    """Show the paramagnetic and the diamagnetic source, slice under slice."""
    if gre.paramagnetic_ppm is None or gre.diamagnetic_ppm is None:
        return None
    strips = sources_shown(gre.paramagnetic_ppm, gre.diamagnetic_ppm, gre.brain)
    return panels.figure(
        strips,
        "Paramagnetic and diamagnetic sources",
        "desc-sources_Chimap",
        "Bright in the upper row: iron, and blood in veins. Bright in the lower row: myelin, and "
        "calcium. White matter should be bright only in the lower row, the basal ganglia in the "
        "upper one. Where both are bright, as above the sinuses, something else increased R2*. "
        "The level of both depends on R2.",
    )


def sources_shown(
    paramagnetic_ppm: Image, diamagnetic_ppm: Image, brain: Image | None
) -> list[Strip]:
    """Return the size of either source in the same slices: black is none, bright is much."""
    shown = (
        (in_ppb(paramagnetic_ppm), PARAMAGNETIC_WINDOW, "paramagnetic"),
        (in_ppb(diamagnetic_ppm.like(-diamagnetic_ppm.data)), DIAMAGNETIC_WINDOW, "diamagnetic"),
    )
    return [
        Strip(cut(image, show=brain, through=None, count=6), window, (), title)
        for image, window, title in shown
    ]


def thalamus_on_chi(gre: GreMaps, regions: RegionMasks) -> Figure | None:
    """Show the regions that the number is taken from, on the susceptibility map."""
    if gre.chi_ppm is None or regions.thalamus is None:
        return None
    chi_ppb = in_ppb(gre.chi_ppm)
    through = _measured_regions(regions.thalamus, regions.csf_reference)
    overlays = _region_overlays(regions)
    close = cut(chi_ppb, show=through, through=through, count=12)
    strip = Strip(_widened(close, AROUND_MM), CHI_WINDOW, overlays, columns=4)
    return panels.figure(
        [strip],
        "Thalamus, veins and CSF reference on susceptibility",
        "desc-thalamus_Chimap",
        "The means inside the solid thalamus outlines and inside the CSF reference make the "
        "number of this report. The outlines should hold no vein, no CSF and no internal capsule "
        "(dark band at the side); the reference should lie in plain CSF.",
    )


def in_ppb(chi_ppm: Image) -> Image:
    """Return a susceptibility map in parts per billion."""
    return chi_ppm.like(chi_ppm.data * np.float32(1000))


def _field_map(
    field_hz: Image | None, gre: GreMaps, title: str, name: str, caption: str
) -> Figure | None:
    if field_hz is None:
        return None
    # Zero is outside of the mask and would pull the percentile down.
    values = np.abs(field_hz.data[field_hz.data != 0])
    # The 98th percentile: the field above sinuses and ears would leave the rest gray.
    limit = _round_up(float(np.percentile(values, 98)) if values.size else 1.0)
    strip = Strip(
        cut(field_hz, show=gre.brain, through=None, count=6), Window(-limit, limit, "field (Hz)")
    )
    return panels.figure([strip], title, name, caption)


def _echoes(image: Image) -> list[tuple[int, Image]]:
    """Return the number and image of the first, the middle and the last echo."""
    if image.data.ndim == 3:
        return [(0, image)]
    count = image.data.shape[3]
    # unique: with one or two echoes the middle one is also the first or the last.
    chosen = np.unique(np.linspace(0, count - 1, ECHOES_SHOWN).round().astype(int)).tolist()
    return [(echo, image.like(np.ascontiguousarray(image.data[..., echo]))) for echo in chosen]


def _echo_title(gre: GreMaps, number: int) -> str:
    if number >= len(gre.echo_times_s):
        return f"echo {number + 1}"
    return (
        f"echo {number + 1} of {len(gre.echo_times_s)}, TE {gre.echo_times_s[number] * 1e3:.1f} ms"
    )


def _round_up(value: float) -> float:
    """Return the next number of the form 1, 2 or 5 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(max(value, 1e-6)))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= value))


def _measured_regions(thalamus: Image, reference: Image | None) -> Image:
    """Return the thalami, 1 and 2, and the reference, 3, as one label image."""
    labels = thalamus.data.astype(np.uint8)
    # A mask on another grid cannot be joined voxel by voxel; it is drawn all the same.
    if reference is not None and reference.shape == thalamus.shape:
        labels = np.where((labels == 0) & (reference.data > 0), np.uint8(3), labels)
    return thalamus.like(labels)


def _region_overlays(regions: RegionMasks) -> list[Overlay]:
    overlays = []
    if regions.thalamus_label is not None:
        overlays.append(
            Overlay(regions.thalamus_label, "label before cleaning", colors.WHITE, line=":")
        )
    if regions.thalamus is not None:
        overlays += panels.sides(regions.thalamus, 1, 2)
    if regions.veins is not None:
        overlays.append(Overlay(regions.veins, "veins", colors.VEINS, filled=True))
    if regions.csf_reference is not None:
        overlays.append(Overlay(regions.csf_reference, "CSF reference", colors.CSF_REFERENCE))
    if regions.lesions is not None:
        overlays.append(Overlay(regions.lesions, "lesions", colors.LESIONS, line="--"))
    return overlays


def _widened(where: Cut, margin_mm: float) -> Cut:
    """Return the same slices with more around them."""
    more = [round(margin_mm / size) for size in where.base.grid.voxel_size_mm]
    return Cut(where.base, where.box.grown(more), where.axis, where.indices)


STAGES = (
    magnitude,
    phase,
    masks,
    total_field,
    local_field,
    susceptibility,
    relaxation,
    sources_apart,
)
"""The figures of the reconstruction in its order."""
