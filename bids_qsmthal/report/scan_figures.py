"""Figures that compare scans: lesions on FLAIR, contrast agent, registration."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from bids_qsmthal.anatomy import RigidRegistration
from bids_qsmthal.core import colors
from bids_qsmthal.report import panels
from bids_qsmthal.report.mosaic import Overlay, Strip, Window
from bids_qsmthal.report.page import Flicker
from bids_qsmthal.report.slices import Axis, Cut, cut, profile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
    # Each lesion by itself: small ones would else be passed over for the largest.
    through = _numbered(maps.lesions) if maps.lesions is not None and has_lesions else None
    overlays = []
    if maps.lesions is not None:
        overlays.append(Overlay(maps.lesions, "lesion", colors.LESIONS))
    where = cut(maps.flair, show=brain, through=through, count=12)
    window = panels.bright(maps.flair, brain, "FLAIR signal")
    strips = []
    # Each half with and without outlines, one below the other: the eye compares close by.
    for half in _halves(where):
        strips += [Strip(half, window, (), "FLAIR"), Strip(half, window, overlays, "outlined")]
    remark = " No lesion was found." if through is None else _passed(where, through)
    return panels.figure(
        strips,
        "Lesions on FLAIR",
        "desc-lesion_FLAIR",
        "The same slices without and with outlines. Look for lesions that were missed, at the "
        "cortex and in the posterior fossa above all, and for outlines around what is not a "
        "lesion: choroid plexus, the septum pellucidum, flow artefacts at the ventricles." + remark,
    )


def _numbered(mask: Image) -> Image:
    """Return a mask with a number for each piece of it; pieces may touch at a corner."""
    return mask.like(ndimage.label(mask.data, np.ones((3, 3, 3)))[0].astype(np.int32))


def _passed(where: Cut, lesions: Image) -> str:
    """Say how many of the lesions these slices pass through."""
    counts = profile(where.base, lesions, where.axis)
    shown = int((counts[:, list(where.indices)] > 0).any(axis=1).sum())
    return f" These slices show {shown} of the {len(counts)} connected lesions."


def enhancement(maps: LesionMaps, brain: Image | None) -> Figure | None:
    """Show T1w before and after contrast agent, with enhancing lesions outlined."""
    if maps.t1w is None or maps.ce_t1w is None:
        return None
    some = maps.enhancing is not None and bool(np.any(maps.enhancing.data))
    through = maps.enhancing if some else maps.lesions
    # Slices cannot pass through an empty mask: then the whole brain is shown.
    through = _numbered(through) if through is not None and np.any(through.data) else None
    where = cut(maps.t1w, show=brain, through=through, count=6)
    # A window for each: the gain of the receiver may differ between the two scans.
    before, after = (
        panels.bright(image, brain, "T1w signal", percentile=TISSUE_PERCENTILE)
        for image in (maps.t1w, maps.ce_t1w)
    )
    strips = [
        Strip(where, before, (), "before contrast agent"),
        Strip(where, after, (), "after", other=maps.ce_t1w),
    ]
    if maps.enhancing is not None and some:
        outlines = [Overlay(maps.enhancing, "enhancing", colors.ENHANCING)]
        title = "after, enhancing lesions outlined"
        strips.append(Strip(where, after, outlines, title, other=maps.ce_t1w))
    remark = "" if some else " No enhancing lesion was found."
    return panels.figure(
        strips,
        "Enhancement",
        "desc-enhancing_T1w",
        "Vessels, dura and choroid plexus enhance in everybody. An enhancing lesion is bright only "
        "after contrast agent, and lies in a lesion on FLAIR." + remark,
    )


MEASURED = {
    "shift_mm": "moved by {:.1f} mm",
    "rotation_deg": "turned by {:.1f} degrees",
}
"""How the figures of a registration are written, in the order in which they are. Mutual information
decides whether it failed, but its size says nothing to a reader."""


def _measured(quality: Mapping[str, float]) -> str:
    moved = [words.format(quality[name]) for name, words in MEASURED.items() if name in quality]
    text = f" The scan was {' and '.join(moved)} to fit." if moved else ""
    if "overlap" not in quality:
        return text
    least = RigidRegistration().min_overlap
    found, expected = (f"{100 * share:.0f} %" for share in (quality["overlap"], least))
    return f"{text} Brain masks agree to {found}; expected: {expected} and more."


def registration(pair: Registration) -> Flicker:
    """Show two scans of one head in one place, the outlines of the fixed one on both."""
    first, second = _both(pair)
    return Flicker(
        f"Registration: {pair.name}",
        "The outlines are drawn on the first image and should fit both. Let the two flicker and "
        "watch the walls of the ventricles and the surface of the brain: neither should jump."
        + _measured(pair.quality),
        first,
        second,
    )


def template(pair: Registration) -> Flicker:
    """Show T1w and the template that was bent onto it, the outlines of the atlas on both."""
    first, second = _both(pair)
    return Flicker(
        "Registration: template to T1w",
        "All regions of the atlas depend on this registration. The outlines are those of the "
        "template, deformed to fit; they should follow the ventricles, the thalami and the white "
        "matter of the participant. Gyri of the cortex need not agree. The registration is most "
        "likely to fail in wide ventricles and near large lesions.",
        first,
        second,
    )


def visits(pair: Registration) -> Flicker:
    """Show two visits of one person in their common frame, the shared borders on both."""
    first, second = _both(pair)
    return Flicker(
        pair.name,
        "T1w of both visits in the frame between them, of one intensity. The outlines are the "
        "borders that all visits share. Let the two flicker: what jumps has changed, or moved. The "
        "brain should stand still; ventricles and sulci may widen, lesions may appear.",
        first,
        second,
    )


def _both(pair: Registration) -> tuple[Figure, Figure]:
    """Return the fixed and the moving image on the same slices with the same outlines."""
    show = next(iter(pair.outlines.values()), None)
    overlays = [
        Overlay(image, name, color)
        for (name, image), color in zip(pair.outlines.items(), OUTLINES, strict=False)
    ]
    cuts = [cut(pair.fixed, show=show, through=None, axis=axis, count=6) for axis in AXES]
    # Both are drawn on the voxels of the fixed image. The matrix takes the moving world to the
    # fixed one, and sampling asks for the way from fixed to moving.
    world = np.asarray(np.linalg.inv(pair.matrix), np.float64)
    drawn = []
    for role, suffix, image in (
        (pair.shown[0], "fixed", None),
        (pair.shown[1], "moving", pair.moving),
    ):
        shown = [Strip(where, WHOLE, overlays, other=image, other_world=world) for where in cuts]
        window = _window_of_brain(shown, show)
        strips = [replace(strip, window=window) for strip in shown]
        plain = re.sub("[^a-z0-9]", "", pair.name.lower())
        drawn.append(panels.figure(strips, role, f"desc-{plain}{suffix}_reg", ""))
    return drawn[0], drawn[1]


OUTLINES = (colors.ORANGE, colors.SKY, colors.YELLOW, colors.GREEN)

WHOLE = Window(0.0, 1.0, "signal")
"""Of strips whose window is found from what they show."""


def _window_of_brain(strips: Sequence[Strip], brain: Image | None) -> Window:
    """Return the window of the brain in the slices shown; fat of the scalp would darken it."""
    values = np.concatenate([strip.values().ravel() for strip in strips])
    if brain is not None:
        inside = [strip.where.tiles(brain.like(brain.data > 0), order=0) for strip in strips]
        within = np.concatenate([tile.ravel() for tile in inside]) > 0
        values = values[within] if within.any() else values
    return panels.bright_values(values[values > 0], "signal")


def _halves(where: Cut) -> list[Cut]:
    """Return the slices in two parts, or in one where they are few."""
    middle = (len(where.indices) + 1) // 2
    parts = [where.indices[:middle], where.indices[middle:]] if middle > 3 else [where.indices]
    return [Cut(where.base, where.box, where.axis, part) for part in parts]
