"""Paramagnetic rims: how susceptibility runs along the distance to the border of a lesion.

Iron of microglia at the edge of a chronic active lesion makes a bright rim round a plain inside
(Dal-Bianco et al. 2017, doi:10.1007/s00401-016-1636-z; on susceptibility maps Kaunzner et al.
2019, doi:10.1093/brain/awy296). Shells are in mm, veins are left out, the tissue beyond the border
is subtracted, and every direction is asked by itself, for a vein fills one and a rim many.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import expit

from bids_qsmthal.core.crop import around, margin_voxels
from bids_qsmthal.roi.morphology import signed_depth_mm
from bids_qsmthal.roi.rim_field import FieldRule

if TYPE_CHECKING:
    from bids_qsmthal.qsm import Array, Mask
    from bids_qsmthal.roi.morphology import VoxelSize


@dataclass(frozen=True, slots=True, kw_only=True)
class RimRule:
    """How a rim is told.

    Attributes
    ----------
    least_diameter_mm
        Of the ball of the lesion's volume; in smaller ones no inside is left beside a rim.
    least_voxels
        Of that diameter, in mean voxel edges: 6 mm at 1.5 x 1.5 x 2 mm, the fewest that were tried
        (docs/lesion-iron.md).
    edge_mm
        Depths between which a rim is looked for, positive inside; the border of a mask is right to
        about a voxel.
    core_share
        The inside is deeper than this share of the deepest point.
    around_mm
        Distances from the border of the surroundings, beyond the blur of the border.
    vein_ppb
        Voxels so far above the surroundings are veins: rims reach 80 ppb (and a plain inside 15),
        blood 300 or more in a voxel it fills.
    faintest_ppb
        Of the rims that are looked for.
    field
        How the local field is explained.
    weights
        Of the logistic model: constant, ``surrounded_ppb`` (no more than ``most_ppb`` to either
        side), ``closed``, and the evidence of the field (see ``compressed``); fitted on 60
        simulated blocks and proved on others (docs/lesion-iron.md).
    most_ppb
        Of ``surrounded_ppb`` that counts: a brighter border is no surer sign.
    threshold
        Probability from which a lesion is called one with a rim.
    """

    least_diameter_mm: float = 6.0
    least_voxels: float = 3.6
    edge_mm: tuple[float, float] = (-1.0, 2.5)
    core_share: float = 0.6
    around_mm: tuple[float, float] = (2.0, 5.0)
    vein_ppb: float = 110.0
    faintest_ppb: float = 20.0
    field: FieldRule = field(default_factory=FieldRule)
    weights: tuple[float, float, float, float] = (-4.328, 0.155, 6.075, 0.828)
    most_ppb: float = 30.0
    threshold: float = 0.5

    def least_mm(self, voxel_size_mm: VoxelSize) -> float:
        """Return the diameter from which a rim is looked for on voxels of a size."""
        edge_mm = float(np.cbrt(np.prod(voxel_size_mm)))
        return max(self.least_diameter_mm, self.least_voxels * edge_mm)


class RimShape(NamedTuple):
    """What the model of a rim is asked with.

    Attributes
    ----------
    above_core_ppb
        Median over directions of the brightest depth at the border, less the inside.
    closed
        Share of the directions in which the border is brighter than inside and surroundings, by
        half of the faintest rim at least.
    surrounded_ppb
        By how much, from the point inside that is best walled in, the border rises above that point
        and above the surroundings: reached in three quarters of all directions.
    core_ppb
        Inside less surroundings, high in a lesion that is solid; the model does not ask for it.
    """

    above_core_ppb: float
    closed: float
    surrounded_ppb: float
    core_ppb: float


class LesionShells(NamedTuple):
    """One lesion and its surroundings in a box, shape (x, y, z) each.

    Attributes
    ----------
    depth_mm
        Distance to the border, positive inside.
    usable
        Where susceptibility counts: reconstructed, no vein, no other lesion.
    around
        The tissue that the lesion is compared with.
    """

    chi_ppb: Array
    depth_mm: Array
    usable: Mask
    around: Mask
    voxel_size_mm: VoxelSize


LEAST_VOXELS = 8
"""Surroundings of fewer voxels have no mean to compare with."""
LEAST_DIRECTIONS = 7
"""Half of all: a rim need not be closed, but most of the border must be seen."""


def shells_of(
    lesion: Mask,
    chi_ppb: Array,
    usable: Mask,
    tissue: Mask,
    voxel_size_mm: VoxelSize,
    *,
    rule: RimRule,
) -> LesionShells | None:
    """Cut a lesion out with its surroundings; ``None`` where these hold too little tissue.

    Parameters
    ----------
    lesion
        The lesion alone.
    usable
        Where susceptibility was reconstructed, without known veins.
    tissue
        White matter without any lesion.
    """
    far_mm = rule.around_mm[1]
    crop = around(lesion, margin=margin_voxels(far_mm, voxel_size_mm))
    if crop is None:
        return None
    box = crop.slices
    depth_mm = signed_depth_mm(lesion[box], voxel_size_mm)
    ring = tissue[box] & usable[box] & (depth_mm >= -far_mm) & (depth_mm <= -rule.around_mm[0])
    chi = chi_ppb[box]
    if ring.sum() < LEAST_VOXELS:
        return None
    bright = chi > np.median(chi[ring]) + rule.vein_ppb
    near = (tissue[box] | lesion[box]) & usable[box] & ~bright
    return LesionShells(chi, depth_mm, near, ring & ~bright, voxel_size_mm)


def rim_shape(shells: LesionShells, *, rule: RimRule) -> RimShape | None:
    """Return how the border of a lesion differs from its inside and from its surroundings.

    ``None`` where it is too small for voxels of this size, or where too little of it was seen.
    """
    lesion = shells.depth_mm > 0
    volume_mm3 = float(lesion.sum() * np.prod(shells.voxel_size_mm))
    if (6 * volume_mm3 / np.pi) ** (1 / 3) < rule.least_mm(shells.voxel_size_mm):
        return None
    deepest = rule.core_share * float(shells.depth_mm.max())
    core = shells.usable & (shells.depth_mm >= deepest)
    if not core.any() or shells.around.sum() < LEAST_VOXELS:
        return None
    outside = float(shells.chi_ppb[shells.around].mean(dtype=np.float64))
    inside = float(np.median(shells.chi_ppb[core]))
    low, high = rule.edge_mm
    # The inside is no border, also in a small lesion.
    edge = shells.usable & (shells.depth_mm >= low) & (shells.depth_mm <= min(high, deepest))
    brightest = _brightest_by_direction(shells, lesion, edge, low)
    if brightest.size < LEAST_DIRECTIONS:
        return None
    return RimShape(
        above_core_ppb=float(np.median(brightest)) - inside,
        closed=float(np.mean(brightest > max(inside, outside) + rule.faintest_ppb / 2)),
        surrounded_ppb=surrounded_ppb(shells, outside),
        core_ppb=inside - outside,
    )


_CORNERS = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / np.sqrt(3)
DIRECTIONS = np.concatenate([np.eye(3), -np.eye(3), _CORNERS])
"""Faces and corners of a cube: fourteen, about equally far apart."""


def _brightest_by_direction(
    shells: LesionShells, lesion: Mask, edge: Mask, low_mm: float
) -> NDArray[np.float64]:
    """Return for each direction that has voxels the mean of its brightest shell of 1 mm."""
    size_mm = np.array(shells.voxel_size_mm)
    centre = np.array(ndimage.center_of_mass(lesion))
    away = (np.argwhere(edge) - centre) * size_mm
    direction = (away @ DIRECTIONS.T).argmax(axis=1)
    shell = np.floor(shells.depth_mm[edge] - low_mm).astype(int)
    deepest = int(shell.max(initial=0)) + 1
    index = direction * deepest + shell
    cells = len(DIRECTIONS) * deepest
    counts = np.bincount(index, minlength=cells)
    sums = np.bincount(index, shells.chi_ppb[edge].astype(np.float64), minlength=cells)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), -np.inf)
    best = means.reshape(len(DIRECTIONS), deepest).max(axis=1)
    return np.asarray(best[np.isfinite(best)])


_STEPS = np.array([(x, y, z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1)])
RAYS = _STEPS[_STEPS.any(axis=1)] / np.linalg.norm(
    _STEPS[_STEPS.any(axis=1)], axis=1, keepdims=True
)
"""Faces, edges and corners of a cube: twenty-six directions, looked along from each point."""

DEEP_SHARE = 0.5
"""Of the deepest point, from which on a point counts as inside: the border of a mask may be off by
a voxel, so the darkest point need not be the deepest."""

MOST_POINTS = 16
"""Points inside that are tried; spread over the inside of large lesions."""

BEYOND_MM = 1.2
"""How far outside the border a rim may lie: its mask may be off by about a voxel."""

CHOICE_PPB = 40.0
"""Rise of a ray up to which it speaks for a point: half of the strongest rims."""

RAY_STEP_MM = 0.5
SEEN_SHARE = 0.5
"""Of what is interpolated at a point of a ray that must be usable."""


def surrounded_ppb(shells: LesionShells, outside_ppb: float) -> float:
    """Return by how much a border walls in the point inside that is walled in best.

    Rays run from each point to beyond the border, and the brightest place of each counts, wherever
    it lies: neither the centre nor the depth of the mask needs to be right, which matters most
    where a rim is one voxel wide. NaN where fewer than half of the rays are seen from any point.

    Parameters
    ----------
    outside_ppb
        Mean of the surroundings; a border no brighter than these is no wall.
    """
    deep = shells.usable & (shells.depth_mm >= DEEP_SHARE * shells.depth_mm.max())
    points = np.argwhere(deep)
    spread = np.linspace(0, len(points) - 1, min(MOST_POINTS, len(points))).astype(int)
    peaks = _peaks_ppb(shells, points[spread])
    seen = np.isfinite(peaks)
    enough = seen.sum(axis=1) >= len(RAYS) / 2
    if not enough.any():
        return float("nan")
    inside_ppb = shells.chi_ppb[tuple(points[spread].T)].astype(np.float64)
    rises = peaks - np.maximum(inside_ppb, outside_ppb)[:, None]
    rises = np.where(seen, rises, np.nan)[enough]
    # Bounded: one bright vein on the way must not choose the point.
    best = np.nanmean(np.clip(rises, -CHOICE_PPB, CHOICE_PPB), axis=1).argmax()
    return float(np.nanquantile(rises[best], 0.25))


def _peaks_ppb(shells: LesionShells, points: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the brightest value of each ray from each point, shape (points, rays)."""
    size_mm = np.array(shells.voxel_size_mm)
    lesion_mm3 = float((shells.depth_mm > 0).sum() * np.prod(size_mm))
    # Of an elongated lesion: its longest radius is less than twice that of the ball.
    reach_mm = 1.8 * (3 * lesion_mm3 / (4 * np.pi)) ** (1 / 3) + 2
    steps_mm = np.arange(RAY_STEP_MM, reach_mm, RAY_STEP_MM)
    away = RAYS[:, None] * steps_mm[:, None] / size_mm
    places = (points[:, None, None] + away).reshape(-1, 3).T
    usable = shells.usable.astype(np.float32)
    values, weights, depths_mm = (
        ndimage.map_coordinates(one, places, order=1, mode="constant", cval=beyond)
        for one, beyond in (
            (np.where(shells.usable, shells.chi_ppb, 0), 0.0),
            (usable, 0.0),
            (shells.depth_mm, -np.inf),
        )
    )
    on_way = (weights > SEEN_SHARE) & (depths_mm >= -BEYOND_MM)
    values = np.where(on_way, values / np.maximum(weights, SEEN_SHARE), -np.inf)
    return np.asarray(values.reshape(len(points), len(RAYS), -1).max(axis=2), dtype=np.float64)


def rim_probability(shape: RimShape | None, evidence: float, *, rule: RimRule) -> float:
    """Return how likely a lesion has a rim; NaN where that cannot be said.

    Parameters
    ----------
    shape
        What the map of susceptibility shows.
    evidence
        What the field says (``rim_field.rim_evidence``).
    """
    if shape is None:
        return float("nan")
    constant, of_wall, of_closed, of_evidence = rule.weights
    wall_ppb = float(np.clip(shape.surrounded_ppb, -rule.most_ppb, rule.most_ppb))
    score = constant + of_wall * wall_ppb + of_closed * shape.closed
    return float(expit(score + of_evidence * compressed(evidence)))


def compressed(evidence: float) -> float:
    """Return a log evidence whose large values count less: 100 is not ten times as sure as 10."""
    return float(np.copysign(np.log1p(abs(evidence)), evidence))
