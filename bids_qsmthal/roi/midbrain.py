"""Nuclei of the midbrain moved to where the susceptibility map shows them.

T1w hardly shows red nucleus, substantia nigra and subthalamic nucleus, so registration leaves them
some millimetres off; with 100 ppb of contrast that is what decides their number. Susceptibility
shows them (Liu 2013, doi 10.1148/radiol.13121991). Each keeps its shape and is moved as a whole:
three numbers are fitted to hundreds of voxels, and no voxel is chosen by its value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.core.affine import apply
from bids_qsmthal.core.crop import around, margin_voxels
from bids_qsmthal.core.image import Affine, Image
from bids_qsmthal.core.labels import MIDBRAIN, SIDES, parsed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bids_qsmthal.qsm import Mask

Shift = tuple[int, int, int]
Samples = NDArray[np.float64]

STILL: Shift = (0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settling:
    """How nuclei are moved.

    Attributes
    ----------
    uncertainty_mm
        How far a registered nucleus is expected from its place (standard deviation of a normal
        prior).
    independent_mm3
        Volume that counts as one independent sample of the map: tissue and the errors of a map vary
        over about 3 mm.
    reach_mm
        What lies this far around the nuclei is what they are told from.
    limit_ppm
        Values farther than this from the median (veins, calcification) count as that far.
    """

    uncertainty_mm: float = 1.5
    independent_mm3: float = 27.0
    reach_mm: float = 4.0
    limit_ppm: float = 0.2


def groups_of(names: Mapping[int, str]) -> list[list[int]]:
    """Return which labels move together: the midbrain of each side, then each for itself."""
    found = {index: parsed(name) for index, name in names.items()}
    midbrain = {index: region for index, region in found.items() if region.name in MIDBRAIN}
    sides = [[i for i, region in midbrain.items() if region.hemisphere == side] for side in SIDES]
    return [*sides, *([index] for index in midbrain)]


def settled(
    labels: Image,
    groups: Sequence[Sequence[int]],
    chi_ppm: Image,
    tissue: Mask,
    world: Affine,
    how: Settling | None = None,
) -> Image:
    """Move labels to where the map shows them.

    Parameters
    ----------
    labels
        On the T1w grid; what is not moved stays.
    groups
        The labels that move: those of a group together, one group after the other.
    chi_ppm
        Susceptibility.
    tissue
        Where the map may be compared: tissue without a label, shape of ``chi_ppm``.
    world
        From RAS mm of ``chi_ppm`` to those of ``labels``.
    how
        ``Settling()`` by default.

    Returns
    -------
    Image
        Where the nuclei are not brighter than what is around them, the labels as they were.
    """
    how = how or Settling()
    data = np.asarray(labels.data)
    moving = sorted({i for group in groups for i in group if (data == i).any()})
    fit = _MapFit.of(labels, moving, chi_ppm, tissue, world, how) if moving else None
    if fit is None:
        return labels
    shifts = dict.fromkeys(moving, STILL)
    for group in groups:
        shifts = _descended(fit, shifts, [index for index in group if index in shifts])
    if not fit.bright(shifts):
        return labels
    return labels.like(_moved(data, shifts))


@dataclass(frozen=True, slots=True, eq=False)
class _MapFit:
    """Voxels near the nuclei, and how well background and nuclei at some places explain them.

    Attributes
    ----------
    ppm
        Value of each voxel, shape (n,).
    index
        Where it lies among the labels, in voxels, shape (3, n).
    soft
        Each label, smoothed to the size of the map's voxels.
    voxel_mm
        Along each axis of the labels.
    samples
        Number of independent ones.
    """

    ppm: Samples
    index: Samples
    soft: Mapping[int, NDArray[np.float32]]
    voxel_mm: tuple[float, float, float]
    samples: float
    how: Settling

    @classmethod
    def of(
        cls,
        labels: Image,
        moving: Sequence[int],
        chi_ppm: Image,
        tissue: Mask,
        world: Affine,
        how: Settling,
    ) -> _MapFit | None:
        """Return the voxels of the map near the labels; None if there are too few."""
        size_mm = np.array(labels.grid.voxel_size_mm)
        # The spread of a voxel of the map, in voxels of the labels.
        sigma = np.array(chi_ppm.grid.voxel_size_mm).mean() / np.sqrt(12) / size_mm
        crop = around(
            np.isin(labels.data, moving), margin=margin_voxels(2 * how.reach_mm, size_mm.tolist())
        )
        assert crop is not None  # noqa: S101 - the labels that move have voxels
        data = crop.cut(np.asarray(labels.data))
        soft = {
            index: ndimage.gaussian_filter((data == index).astype(np.float32), sigma)
            for index in moving
        }
        whole = ndimage.distance_transform_edt(~np.isin(data, moving), sampling=size_mm)
        voxels = np.argwhere(tissue & np.isfinite(chi_ppm.data))
        there = apply(np.linalg.inv(crop.affine(labels.affine)) @ world @ chi_ppm.affine, voxels)
        inside = ((there >= 0) & (there <= np.array(data.shape) - 1)).all(axis=1)
        voxels, there = voxels[inside], there[inside]
        near = whole[tuple(np.round(there).astype(int).T)] <= how.reach_mm
        ppm = np.asarray(chi_ppm.data)[tuple(voxels[near].T)].astype(np.float64)
        samples = len(ppm) * chi_ppm.voxel_volume_mm3 / how.independent_mm3
        # As many as there are numbers to find: a level and a place for each.
        if len(ppm) <= 4 * len(moving) + 1:
            return None
        middle = np.median(ppm)
        ppm = np.clip(ppm, middle - how.limit_ppm, middle + how.limit_ppm)
        x, y, z = size_mm.tolist()
        return cls(ppm, there[near].T, soft, (x, y, z), samples, how)

    def solved(self, shifts: Mapping[int, Shift]) -> tuple[float, Samples]:
        """Return the sum of squared residuals, and background and contrast of each nucleus."""
        shares = [
            ndimage.map_coordinates(
                part, self.index - np.array(shifts[index])[:, None], order=1, mode="constant"
            )
            for index, part in self.soft.items()
        ]
        design = np.stack([np.ones_like(self.ppm), *shares], axis=1)
        levels = np.linalg.lstsq(design, self.ppm, rcond=None)[0]
        return float(((self.ppm - design @ levels) ** 2).sum()), levels

    def cost(self, shifts: Mapping[int, Shift]) -> float:
        """Return the negative logarithm of the posterior, but for a constant."""
        moved_mm = np.array([shifts[index] for index in self.soft]) * self.voxel_mm
        prior = float((moved_mm**2).sum()) / (2 * self.how.uncertainty_mm**2)
        # A map without noise is explained as a whole; its logarithm would have no end.
        return float(self.samples / 2 * np.log(self.solved(shifts)[0] + 1e-12)) + prior

    def bright(self, shifts: Mapping[int, Shift]) -> bool:
        """Return whether all nuclei are brighter than what is around them."""
        return bool((self.solved(shifts)[1][1:] > 0).all())


def _descended(fit: _MapFit, shifts: dict[int, Shift], group: Sequence[int]) -> dict[int, Shift]:
    """Move some nuclei together as long as that explains the map better."""
    best, cost = shifts, fit.cost(shifts)
    for step in (2, 1):
        while True:
            tried = [
                best | {index: _plus(best[index], axis, step * sign) for index in group}
                for axis in range(3)
                for sign in (-1, 1)
            ]
            costs = [fit.cost(one) for one in tried]
            if min(costs) >= cost:
                break
            best, cost = tried[int(np.argmin(costs))], min(costs)
    return best


def _plus(shift: Shift, axis: int, step: int) -> Shift:
    x, y, z = (part + step * (axis == here) for here, part in enumerate(shift))
    return x, y, z


def _moved(data: NDArray[np.generic], shifts: Mapping[int, Shift]) -> NDArray[np.generic]:
    """Return labels with some of them moved by whole voxels; what leaves the image is lost."""
    moved = np.where(np.isin(data, list(shifts)), 0, data).astype(data.dtype)
    for index, shift in shifts.items():
        voxels = np.argwhere(data == index) + shift
        inside = ((voxels >= 0) & (voxels < data.shape)).all(axis=1)
        where = tuple(voxels[inside].T)
        # Other labels keep their places.
        moved[where] = np.where(moved[where] == 0, index, moved[where])
    return moved
