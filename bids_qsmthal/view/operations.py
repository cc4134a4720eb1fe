"""Which tool does what to a drawing, and the outlines of the other labels around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from bids_qsmthal.bids.products import PRODUCTS
from bids_qsmthal.core.errors import DataError, MissingInputError
from bids_qsmthal.core.image import Image, resample, turned
from bids_qsmthal.view import images, live, shown, tools, voxels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_qsmthal.view.drawn import SentDrawing
    from bids_qsmthal.view.images import Label, ScanMaps

ALONE: Final[dict[str, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]]] = {
    "smooth": tools.smooth,
    "between": tools.between_slices,
}
"""Tools that need the drawing only."""

LESION: Final = "lesion"
"""Gives a whole lesion one of the values of the label, or 0."""

VEIN: Final = "vein"
"""What contours are nudged off."""


def applied(
    scan: ScanMaps, label: Label, drawing: SentDrawing, tool: str, more: Sequence[str]
) -> bytes:
    """Return what a tool makes of a drawing, as a gzipped NIfTI file of the box that was sent.

    Parameters
    ----------
    more
        What the tool needs: ``within`` a map and two limits in the unit of the screen, ``reject``
        a point of the world in mm, ``lesion`` the number of a lesion and its value in the label.

    Raises
    ------
    MissingInputError
        There is no such tool, map or label.
    DataError
        The tool does not fit the label.
    """
    made = _made(scan, label, drawing.voxels, tool, more)
    _, affine = voxels.grid(scan.current(label.key))
    return shown.packed_label(shown.part(Image(made, affine), drawing.box), len(label.values))


def _made(
    scan: ScanMaps, label: Label, drawing: NDArray[np.uint8], tool: str, more: Sequence[str]
) -> NDArray[np.uint8]:
    if tool in ALONE and not more:
        return ALONE[tool](drawing)
    if tool == "nudge" and not more:
        return tools.nudge(drawing, _veins(scan, label))
    if tool == "sides" and not more and len(label.values) == 2 and not label.among:
        return tools.sides(drawing, voxels.grid(scan.current(label.key))[1])
    if tool == "within" and len(more) == 3:
        return _within(scan, label, drawing, more)
    if tool == "reject" and len(more) == 3:
        _, affine = voxels.grid(scan.current(label.key))
        point = np.linalg.solve(affine, [*map(float, more), 1.0])[:3]
        return tools.without_piece(drawing, tuple(int(at) for at in np.rint(point)))
    if tool == LESION and len(more) == 2 and label.among:
        number, value = int(more[0]), int(more[1])
        lesions = live.lesions_among(scan, label)
        if 0 <= value <= len(label.values) and lesions is not None:
            return tools.with_lesion(drawing, lesions, number, value)
    raise MissingInputError(f"{tool}: no such tool for the {label.title}.")


def _within(
    scan: ScanMaps, label: Label, drawing: NDArray[np.uint8], more: Sequence[str]
) -> NDArray[np.uint8]:
    """Return a drawing without what is outside of two limits (unit of the screen) in a map."""
    limits = [float(limit) / images.scale(more[0]) for limit in more[1:]]
    image = images.resampled(scan, more[0], PRODUCTS[label.key].space)
    made = drawing.copy()
    # The map has its axes to R, A and S; this is the drawing so, in the same memory.
    seen = turned(Image(made, voxels.grid(scan.current(label.key))[1])).data
    seen[...] = tools.within(seen, image.data, limits[0], limits[1])
    return made


def _veins(scan: ScanMaps, label: Label) -> NDArray[np.bool_]:
    if label.key == VEIN or PRODUCTS[label.key].space != PRODUCTS[VEIN].space:
        raise DataError(f"the {label.title} cannot be moved off the veins; choose another label.")
    veins: NDArray[np.bool_] = voxels.mask(scan.current(VEIN)).data > 0
    return veins


def outlines(scan: ScanMaps, key: str) -> bytes:
    """Return the outlines of all labels but one on its grid, gzipped NIfTI.

    A voxel has the place of its label in ``images.LABELS``, from 1; smaller labels lie over
    larger ones.
    """
    box = images.shown_box(scan, key)
    space = PRODUCTS[key].space
    shape, affine = voxels.grid(scan.output(images.BACKGROUNDS[space]))
    onto = shown.part(Image(np.broadcast_to(np.uint8(0), shape), affine), box)
    masks = {
        number: _mask_on(scan, label.key, onto, space, box)
        for number, label in enumerate(images.LABELS, 1)
        if label.key != key and scan.output(label.key).is_file()
    }
    made = np.zeros(onto.shape, np.uint8)
    for number in sorted(masks, key=lambda number: -np.count_nonzero(masks[number])):
        made[tools.outline(masks[number])] = number
    return shown.packed_label(onto.like(made), len(images.LABELS))


def _mask_on(
    scan: ScanMaps, key: str, onto: Image, space: str, box: shown.Box
) -> NDArray[np.bool_]:
    """Return a label on what is shown of a space."""
    mask = voxels.mask(scan.current(key))
    own = PRODUCTS[key].space
    seen = (
        shown.part(mask, box)
        if own == space
        else resample(mask, onto, world=images.world(scan.transform(own, space)), order=0)
    )
    inside: NDArray[np.bool_] = seen.data > 0
    return inside
