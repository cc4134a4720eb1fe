"""What changes in a head between two visits, with its truth: atrophy, iron, lesions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from bids_qsmthal.simulate.tissues import ROW
from bids_qsmthal.simulate.warps import more_atrophy

if TYPE_CHECKING:
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
