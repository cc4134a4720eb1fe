"""Pictures without faces: what lies away from the brain is left out of every image shown.

A face can be drawn from a T1w, FLAIR or gradient-echo image, and so from the slices and the viewer
of a report. Maps and masks hold nothing outside the brain.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from bids_qsmthal.core.affine import voxel_sizes_mm
from bids_qsmthal.core.distance import distance_mm
from bids_qsmthal.core.image import Affine, Image, resample

if TYPE_CHECKING:
    from bids_qsmthal.report.contents import GreMaps, ParticipantReport, Registration

MARGIN_MM = 5.0
"""What is kept round the brain: enough to judge its outline, too little for eyes and nose."""

Group = TypeVar("Group")


def defaced(report: ParticipantReport) -> ParticipantReport:
    """Return the report with every image cut to the brain and a margin round it.

    An image in which no brain is known is left out.
    """
    brain = report.anatomy.brain
    near = None if brain is None else _near(brain)
    return replace(
        report,
        gre=_gre(report.gre),
        anatomy=_cut_all(report.anatomy, near),
        lesions=_cut_all(report.lesions, near),
        template=None
        if report.template is None or near is None
        else _registration(report.template, near),
        registrations=tuple(
            _registration(pair, near) for pair in report.registrations if near is not None
        ),
    )


def near_brain(image: Image, brain: Image) -> Image:
    """Return an image cut to the brain and a margin round it; both are in one world."""
    return _cut(image, _near(brain))


def _gre(gre: GreMaps) -> GreMaps:
    return _cut_all(gre, None if gre.brain is None else _near(gre.brain))


def _cut_all(group: Group, near: Image | None) -> Group:
    """Cut every image of a group of maps that share a world."""
    images = {item.name: getattr(group, item.name) for item in fields(group)}  # type: ignore[arg-type]
    # Where no brain is known nothing is shown: a picture with a face would be worse than none.
    cut = {
        name: None if near is None else _cut(image, near)
        for name, image in images.items()
        if isinstance(image, Image)
    }
    return replace(group, **cut)  # type: ignore[type-var]


def _registration(pair: Registration, near: Image) -> Registration:
    return replace(
        pair, fixed=_cut(pair.fixed, near), moving=_cut(pair.moving, near, world=pair.matrix)
    )


def _near(brain: Image) -> Image:
    """Return the brain and its margin as a mask."""
    # In mm, so that thick slices do not keep more of a face than thin ones.
    away_mm = distance_mm(brain.data != 0, voxel_sizes_mm(brain.affine).tolist())
    return brain.like((away_mm <= MARGIN_MM).astype(np.uint8))


def _cut(image: Image, near: Image, *, world: Affine | None = None) -> Image:
    """Return an image that is zero where the mask is; ``world`` leads to the world of the mask."""
    keep = resample(near, image, world=world, order=0).data > 0
    # One mask for all echoes: axes of length 1 are stretched over them.
    keep = keep.reshape(keep.shape + (1,) * (image.data.ndim - 3))
    return image.like(np.where(keep, image.data, np.zeros((), image.data.dtype)))
