"""The change of susceptibility between two visits: the same tissue, the same rule, the same veins.

A single measurement chooses thalamus, veins and reference anew. Here only those voxels count that
both visits chose: what is vein, rim or lost at one visit is left out at the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bids_qsmthal.core.image import Affine, Image, resample

if TYPE_CHECKING:
    from collections.abc import Mapping

Mask = NDArray[np.bool_]

FEWEST_VOXELS = 30
"""Of the region and of the reference: a mean of 30 has a standard error that is known to an eighth
(1 / sqrt(2 x 29)); with fewer in common both visits do not show the same tissue."""

SIDES: Mapping[str, tuple[int, ...]] = {"L": (1,), "R": (2,), "LR": (1, 2)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GreVisit:
    """What one visit says of its gradient echo, on its own grid.

    Attributes
    ----------
    chi_ppm
        Susceptibility.
    thalamus
        The thalami as they were measured there: 1 left, 2 right.
    reference
        The CSF that was its zero.
    to_frame
        4x4, a point of this scan's world in the world of the frame.
    """

    chi_ppm: Image
    thalamus: Image
    reference: Image
    to_frame: Affine


@dataclass(frozen=True, slots=True, kw_only=True)
class ChiChange:
    """Relative susceptibility of the thalami at two visits, in what they share.

    Attributes
    ----------
    first_ppb, second_ppb
        Mean over the shared thalamus less that over the shared reference; NaN where too little is
        shared.
    n_voxels
        Of the first visit.
    """

    hemisphere: str
    first_ppb: float
    second_ppb: float
    n_voxels: int


def chi_changes(first: GreVisit, second: GreVisit) -> tuple[ChiChange, ...]:
    """Return the relative susceptibility of each thalamus and of both, at both visits."""
    found = []
    for hemisphere, labels in SIDES.items():
        one, count = _relative_ppb(first, second, labels)
        two, other = _relative_ppb(second, first, labels)
        enough = min(count, other) >= FEWEST_VOXELS
        found.append(
            ChiChange(
                hemisphere=hemisphere,
                first_ppb=one if enough else float("nan"),
                second_ppb=two if enough else float("nan"),
                n_voxels=count,
            )
        )
    return tuple(found)


def _relative_ppb(own: GreVisit, other: GreVisit, labels: tuple[int, ...]) -> tuple[float, int]:
    """Return the number of one visit in its own space, and how many voxels it is the mean of."""
    thalamus = _shared(own, other, own.thalamus, other.thalamus, labels)
    reference = _shared(own, other, own.reference, other.reference, (1,))
    count = min(int(thalamus.sum()), int(reference.sum()))
    if not count:
        return float("nan"), 0
    chi = own.chi_ppm.data.astype(np.float64)
    return 1e3 * float(chi[thalamus].mean() - chi[reference].mean()), count


def _shared(
    own: GreVisit, other: GreVisit, region: Image, others: Image, labels: tuple[int, ...]
) -> Mask:
    """Return the voxels of a region that the other visit has in it, too."""
    way = np.linalg.inv(other.to_frame) @ own.to_frame
    share = others.like(np.isin(others.data, labels).astype(np.float32))
    there = resample(share, own.chi_ppm, world=way.astype(np.float64))
    # Half of a voxel: the other visit's grid lies otherwise.
    shared: Mask = np.isin(region.data, labels) & (there.data > 0.5)
    return shared
