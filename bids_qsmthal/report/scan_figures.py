"""Figures that compare scans: lesions on FLAIR, contrast agent, registration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bids_qsmthal.report import drawing, panels
from bids_qsmthal.report.mosaic import Overlay, Strip
from bids_qsmthal.report.page import Flicker
from bids_qsmthal.report.slices import Axis, Cut, cut

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bids_qsmthal.core.image import Image
    from bids_qsmthal.report.contents import LesionMaps, Registration
    from bids_qsmthal.report.page import Figure

TISSUE_PERCENTILE = 98.0
"""After contrast agent the brightest voxels are vessels, which must not darken the rest."""

AXES: tuple[Axis, ...] = (2, 0)
"""Registrations are judged on axial and sagittal slices."""


def lesions(maps: LesionMaps, brain: Image | None) -> Figure | None:
    """Show lesions on FLAIR."""
    if maps.flair is None:
        return None
    has_lesions = maps.lesions is not None and bool(np.any(maps.lesions.data))
    through = maps.lesions if has_lesions else None
    overlays = []
    if maps.lesions is not None:
        overlays.append(Overlay(maps.lesions, "lesion", drawing.VERMILION))
    where = cut(maps.flair, show=brain, through=through, count=12)
    window = panels.bright(maps.flair, brain, "FLAIR signal")
    strips = []
    # Each half with and without outlines, one below the other: the eye compares close by.
    for half in _halves(where):
        strips += [Strip(half, window, (), "FLAIR"), Strip(half, window, overlays, "outlined")]
    remark = "" if has_lesions else " No lesion was found."
    return panels.figure(
        strips,
        "Lesions on FLAIR",
        "desc-lesion_FLAIR",
        "Each slice is shown without and with the outlines of the lesions." + remark,
    )


def enhancement(maps: LesionMaps, brain: Image | None) -> Figure | None:
    """Show T1w before and after contrast agent, with enhancing lesions outlined."""
    if maps.t1w is None or maps.ce_t1w is None:
        return None
    some = maps.enhancing is not None and bool(np.any(maps.enhancing.data))
    through = maps.enhancing if some else maps.lesions
    # Slices cannot pass through an empty mask: then the whole brain is shown.
    through = through if through is not None and np.any(through.data) else None
    overlays = []
    if maps.enhancing is not None:
        overlays.append(Overlay(maps.enhancing, "enhancing", drawing.VERMILION))
    where = cut(maps.t1w, show=brain, through=through, count=6)
    # A window for each: the gain of the receiver may differ between the two scans.
    before, after = (
        panels.bright(image, brain, "T1w signal", percentile=TISSUE_PERCENTILE)
        for image in (maps.t1w, maps.ce_t1w)
    )
    strips = [
        Strip(where, before, (), "before contrast agent"),
        Strip(where, after, (), "after", other=maps.ce_t1w),
        Strip(where, after, overlays, "after, enhancing lesions outlined", other=maps.ce_t1w),
    ]
    remark = "" if some else " No enhancing lesion was found."
    return panels.figure(
        strips,
        "Enhancement",
        "desc-enhancing_T1w",
        "Vessels and the choroid plexus enhance in everybody." + remark,
    )


MEASURED = {
    "shift_mm": "moved by {:.1f} mm",
    "rotation_deg": "turned by {:.1f} degrees",
    "overlap": "the brains overlap by {:.0%}",
    "information_start": "information that the scans share (1 none, 2 all): {:.2f} before",
    "information": "{:.2f} now",
    "sharpness": "at least {:.0%} of it lost when shifted",
}
"""How the figures of a registration are written, in the order in which they are."""


def _measured(quality: Mapping[str, float]) -> str:
    figures = [words.format(quality[name]) for name, words in MEASURED.items() if name in quality]
    figures += [f"{name} {value:.3g}" for name, value in quality.items() if name not in MEASURED]
    text = ", ".join(figures)
    return f" {text[0].upper()}{text[1:]}." if text else ""


def registration(pair: Registration) -> Flicker:
    """Show two scans of one head in one place, the outlines of the fixed one on both."""
    show = next(iter(pair.outlines.values()), None)
    colors = (drawing.ORANGE, drawing.SKY, drawing.YELLOW)
    overlays = [
        Overlay(image, name, color)
        for (name, image), color in zip(pair.outlines.items(), colors, strict=False)
    ]
    cuts = [cut(pair.fixed, show=show, through=None, axis=axis, count=6) for axis in AXES]
    plain = pair.name.lower().replace(" ", "")
    pictures = []
    # Both are drawn on the voxels of the fixed image. The matrix takes the moving world to the
    # fixed one, and sampling asks for the way from fixed to moving.
    for role, image, world in (
        ("fixed", None, None),
        ("moving", pair.moving, np.asarray(np.linalg.inv(pair.matrix), np.float64)),
    ):
        # No mask: the brain is known on the grid of the fixed scan only.
        window = panels.bright(pair.fixed if image is None else image, None, "signal")
        strips = [Strip(where, window, overlays, other=image, other_world=world) for where in cuts]
        picture = panels.figure(strips, f"{pair.name}: {role}", f"desc-{plain}{role}_reg", "")
        pictures.append(picture)
    return Flicker(
        f"Registration: {pair.name}",
        "The outlines belong to the fixed image and should fit both. Switch, or let it flicker, "
        "and watch the ventricles and the brain's surface." + _measured(pair.quality),
        pictures[0],
        pictures[1],
    )


def _halves(where: Cut) -> list[Cut]:
    """Return the slices in two parts, or in one where they are few."""
    middle = (len(where.indices) + 1) // 2
    parts = [where.indices[:middle], where.indices[middle:]] if middle > 3 else [where.indices]
    return [Cut(where.base, where.box, where.axis, part) for part in parts]
