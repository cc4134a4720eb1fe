"""The change of susceptibility between two visits: the same tissue, the same rule, the same veins.

A single measurement chooses thalamus, veins and reference anew. Here only those voxels count that
both visits chose: what is vein, rim or lost at one visit is left out at the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bids_qsmthal.core.crop import around
from bids_qsmthal.core.image import Affine, Image, resample

if TYPE_CHECKING:
    from collections.abc import Mapping

Mask = NDArray[np.bool_]

FEWEST_VOXELS = 30
"""Of the region and of the reference: a mean of 30 has a standard error that is known to an eighth
(1 / sqrt(2 x 29)); with fewer in common both visits do not show the same tissue."""

SIDES: Mapping[str, tuple[int, ...]] = {"L": (1,), "R": (2,), "LR": (1, 2)}
"""Labels of the thalami by hemisphere."""

Place = tuple[str, str]
"""Region and hemisphere, as in the table of measures."""


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
    nuclei
        Groups of thalamic nuclei; ``None`` where there are none.
    to_frame
        4x4, a point of this scan's world in the world of the frame.
    """

    chi_ppm: Image
    thalamus: Image
    reference: Image
    to_frame: Affine
    nuclei: Image | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChiChange:
    """Relative susceptibility of a region at two visits, in what they share.

    Attributes
    ----------
    region, hemisphere
        As in the table of measures.
    first_ppb, second_ppb
        Mean over the shared region less that over the shared reference; NaN where too little is
        shared.
    n_voxels
        Of the first visit.
    """

    region: str
    hemisphere: str
    first_ppb: float
    second_ppb: float
    n_voxels: int


def chi_changes(
    first: GreVisit, second: GreVisit, nuclei: Mapping[Place, tuple[int, ...]] | None = None
) -> tuple[ChiChange, ...]:
    """Return the relative susceptibility of the thalami and their nuclei, at both visits.

    Parameters
    ----------
    first, second
        The visits.
    nuclei
        The labels of each nucleus; nothing is said of nuclei where a visit has no image of them.
    """
    ways = [
        np.linalg.inv(other.to_frame) @ own.to_frame
        for own, other in ((first, second), (second, first))
    ]
    zeros = [
        _shared(own, _inside(own.reference, (1,)), _inside(other.reference, (1,)), way)
        for own, other, way in zip((first, second), (second, first), ways, strict=True)
    ]
    found = []
    for place, masks in _regions(first, second, nuclei or {}).items():
        shared = [
            _shared(own, masks[number], masks[1 - number], ways[number])
            for number, own in enumerate((first, second))
        ]
        counts = [
            min(int(of_region.sum()), int(of_zero.sum()))
            for of_region, of_zero in zip(shared, zeros, strict=True)
        ]
        enough = min(counts) >= FEWEST_VOXELS
        one, two = (
            _relative_ppb(own, *masks) if enough else float("nan")
            for own, *masks in zip((first, second), shared, zeros, strict=True)
        )
        found.append(
            ChiChange(
                region=place[0],
                hemisphere=place[1],
                first_ppb=one,
                second_ppb=two,
                n_voxels=counts[0],
            )
        )
    return tuple(found)


def _regions(
    first: GreVisit, second: GreVisit, nuclei: Mapping[Place, tuple[int, ...]]
) -> dict[Place, tuple[Image, Image]]:
    """Return the mask of each region at both visits; nuclei are within the measured thalami."""
    regions = {
        ("thalamus", side): (_inside(first.thalamus, labels), _inside(second.thalamus, labels))
        for side, labels in SIDES.items()
    }
    parts = (first.nuclei, second.nuclei)
    if parts[0] is None or parts[1] is None:
        return regions
    for place, labels in nuclei.items():
        one, two = (
            part.like(np.isin(part.data, labels) & (visit.thalamus.data > 0))
            for part, visit in ((parts[0], first), (parts[1], second))
        )
        regions[place] = (one, two)
    return regions


def _inside(labels: Image, wanted: tuple[int, ...]) -> Image:
    return labels.like(np.isin(labels.data, wanted))


def _relative_ppb(own: GreVisit, region: Mask, reference: Mask) -> float:
    """Return the number of one visit in its own space."""
    chi = own.chi_ppm.data.astype(np.float64)
    return 1e3 * float(chi[region].mean() - chi[reference].mean())


def _shared(own: GreVisit, region: Image, others: Image, way: Affine) -> Mask:
    """Return the voxels of a region that the other visit has in it, too.

    Parameters
    ----------
    own
        The visit whose voxels are meant.
    region, others
        Its mask of the region, and that of the other visit.
    way
        4x4, a point of this visit's world in that of the other.
    """
    mine = np.asarray(region.data, bool)
    # Beyond the box of the region nothing is shared: a nucleus is a thousandth of the grid.
    near = around(mine)
    if near is None:
        return mine
    share = others.like(others.data.astype(np.float32))
    there = resample(share, near.of(own.chi_ppm), world=way.astype(np.float64))
    # Half of a voxel: the other visit's grid lies otherwise.
    return near.paste(near.cut(mine) & (there.data > 0.5))
