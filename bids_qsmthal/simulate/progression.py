"""What changes in a head between two visits, with its truth: atrophy, iron, lesions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import ndimage

from bids_qsmthal.simulate.compositions import compositions
from bids_qsmthal.simulate.tissues import ROW
from bids_qsmthal.simulate.warps import more_atrophy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bids_qsmthal.core.image import Image
    from bids_qsmthal.simulate.head_model import Head

Ball = tuple[float, float, float, float]
"""Centre in the head and radius, mm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progression:
    """What a visit has that the first one had not.

    Attributes
    ----------
    atrophy
        In parts of full atrophy, at which lateral ventricles reach 5 mm further and thalami 2 mm
        less; .05 takes some 3 % of the thalami.
    chi_ppb
        By how much the susceptibility of the thalami is higher.
    lesions
        New ones; a ball around an old one enlarges it.
    """

    atrophy: float = 0.0
    chi_ppb: float = 0.0
    lesions: tuple[Ball, ...] = ()


NO_PROGRESSION: Final = Progression()


def progressed(head: Head, progression: Progression) -> Head:
    """Return the head as it is at a later visit; what does not change has the same values."""
    if progression == NO_PROGRESSION:
        return head
    chi_ppb = head.chi_ppb.copy()
    chi_ppb[[ROW["thalamus"], ROW["thalamus_lateral"]]] += np.float32(progression.chi_ppb)
    return replace(
        head,
        # Skull and scalp stay: the warp of the brain alone changes.
        warp=more_atrophy(head.warp, head.templates, progression.atrophy),
        chi_ppb=chi_ppb,
        lesions=_with_balls(head.lesions, progression.lesions),
    )


APART_MM: Final = 3.0
"""Least tissue between a new lesion and any other: what lies nearer is one lesion that grew."""

INFRATENTORIAL_MM: Final = -15.0
"""Height in the head below which no lesion is drawn, as in ``lesions``."""


def new_lesions(
    head: Head, radii_mm: Sequence[float], generator: np.random.Generator
) -> tuple[Ball, ...]:
    """Draw balls in the white matter, apart from all lesions and from each other.

    Parameters
    ----------
    head
        As it is before.
    radii_mm
        Of the balls; the largest are placed first, and one for which there is no place is left out.
    generator
        Source of randomness.
    """
    level = head.lesions
    white = np.zeros(level.shape, np.float32)
    for chunk in compositions(head, level.affine, level.shape, brain_only=True):
        white.reshape(-1)[chunk.flat] = chunk.fraction("white")
    step_mm = float(level.affine[0, 0])
    depth_mm = ndimage.distance_transform_edt(white > 0.9, step_mm)
    height_mm = np.arange(level.shape[2]) * step_mm + level.affine[2, 3]
    depth_mm[..., height_mm < INFRATENTORIAL_MM] = 0
    free_mm = np.minimum(level.data, head.enhancing.data)
    balls: list[Ball] = []
    for radius_mm in sorted(radii_mm, reverse=True):
        # Half a step: the distance is to the centre of the first voxel that is no white matter.
        fits = (depth_mm - step_mm / 2 >= radius_mm) & (free_mm >= radius_mm + APART_MM)
        places = np.argwhere(fits)
        if not len(places):
            continue
        place = places[generator.integers(len(places))]
        x, y, z = (level.affine[:3, 3] + step_mm * place).tolist()
        balls.append((x, y, z, radius_mm))
        free_mm = _with_balls(level.like(free_mm), (balls[-1],)).data
    return tuple(balls)


def _with_balls(level: Image, balls: tuple[Ball, ...]) -> Image:
    """Return a level set (mm, negative inside) with balls joined to it."""
    nearest: NDArray[np.float32] = level.data
    step_mm = level.affine[0, 0]
    for *centre, radius_mm in balls:
        # The grid lies along the axes of the head.
        x, y, z = (
            level.affine[axis, 3] + step_mm * np.arange(level.shape[axis]) - centre[axis]
            for axis in range(3)
        )
        away = np.sqrt(x[:, None, None] ** 2 + y[:, None] ** 2 + z**2) - radius_mm
        nearest = np.minimum(nearest, away.astype(np.float32))
    return level.like(nearest)
