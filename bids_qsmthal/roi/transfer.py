"""From the T1w grid to the GRE grid: how much of each GRE voxel a label fills.

A GRE voxel is often several times thicker than a T1w voxel and seldom parallel to it. Its share
of a label is the mean of the label over the voxel's box, sampled on a finer lattice inside the
box; labels themselves are never interpolated, so none is smeared into its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from bids_qsmthal.core.affine import apply, between
from bids_qsmthal.core.crop import Crop, around, margin_voxels
from bids_qsmthal.core.crop import between as crop_between
from bids_qsmthal.core.image import Affine, Image
from bids_qsmthal.roi.morphology import Labels, signed_depth_mm

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bids_qsmthal.qsm import Array

STEP_FRACTION = 0.5
"""Lattice step over the smallest edge of a source voxel: every source voxel that a box
crosses is met at least twice along each axis (the sampling theorem for a label map)."""

MAXIMUM_SAMPLES = 8
"""Samples along one axis of a box; a 4 mm slice over 1 mm voxels needs exactly this many."""


@dataclass(frozen=True, slots=True, eq=False)
class Share:
    """A map that is zero outside a box of the grid: the box and the values in it."""

    box: Crop
    values: Array

    def on(self, image: Image) -> Array:
        """Return the map on the whole grid of an image."""
        assert image.shape == self.box.whole_shape  # noqa: S101 - made for this grid
        return self.box.paste(self.values)


@dataclass(frozen=True, slots=True, eq=False)
class Transfer:
    """Labels on the GRE grid.

    Attributes
    ----------
    labels
        int32: the label with the largest share of each voxel, 0 where none of them (the
        background) has.
    shares
        For each label, the fraction (0..1) of each GRE voxel that it fills.
    """

    labels: Image
    shares: Mapping[int, Share] = field(default_factory=dict)

    def fraction(self, *indices: int) -> Array:
        """Return the fraction of each voxel that the given labels fill together."""
        total = np.zeros(self.labels.shape, dtype=np.float32)
        for index in indices:
            if index in self.shares:
                share = self.shares[index]
                total[share.box.slices] += share.values
        return total


def labels(source: Image, onto: Image, *, world: Affine) -> Transfer:
    """Carry a label map to another grid.

    Parameters
    ----------
    source
        Integer labels, shape (x, y, z); 0 is background.
    onto
        The image whose grid is wanted.
    world
        4x4 matrix from a RAS world point (mm) of ``onto`` to the world of ``source``.

    Returns
    -------
    Transfer
        Fractions that sum to one with the background, and the winner of each voxel.
    """
    data = np.asarray(source.data).astype(np.int32)
    shares = {}
    for index in np.unique(data[data != 0]).tolist():
        share = fraction(source.like(data == index), onto, world=world)
        if share is not None:
            shares[int(index)] = share
    return Transfer(onto.like(_winners(shares, onto)), shares)


def fraction(source: Image, onto: Image, *, world: Affine) -> Share | None:
    """Return the mean of a mask (nearest) or of a probability (linear) over each voxel's box."""
    box = _box(source, onto, world)
    if box is None:
        return None
    order = 0 if source.data.dtype == np.bool_ else 1
    total, count = np.zeros(box.shape, dtype=np.float32), 0
    for sample in _samples(source, onto, world=world, box=box, order=order):
        total += sample
        count += 1
    return Share(box, total / np.float32(count))


def least_depth_mm(source: Image, onto: Image, *, world: Affine) -> Array:
    """Return how deep inside a mask the shallowest point of each GRE voxel's box is, in mm.

    Positive where the whole voxel is inside, by how much; -inf far outside. Being a distance it
    is smooth across source voxels, so it places a border better than the voxels' own edges.
    """
    whole = np.full(onto.shape, -np.inf, dtype=np.float32)
    mask = np.asarray(source.data, dtype=bool)
    box = _box(source.like(mask), onto, world)
    if box is None:
        return whole
    size_mm = source.grid.voxel_size_mm
    # How far outside a voxel lies matters only near the border: three source voxels are enough.
    crop = around(mask, margin=margin_voxels(3 * max(size_mm), size_mm))
    assert crop is not None  # noqa: S101 - the mask is not empty: it has a box
    depth = Image(signed_depth_mm(crop.cut(mask), size_mm), crop.affine(source.affine))
    least = np.full(box.shape, np.inf, dtype=np.float32)
    # The samples are the middles of cells, so a corner of the box may lie half a lattice step
    # nearer to the border than the least of them.
    for sample in _samples(depth, onto, world=world, box=box, order=1, fill=-np.inf):
        np.minimum(least, sample, out=least)
    whole[box.slices] = least
    return whole


def _winners(shares: Mapping[int, Share], onto: Image) -> Labels:
    winner = np.zeros(onto.shape, dtype=np.int32)
    best = np.zeros(onto.shape, dtype=np.float32)
    filled = np.zeros(onto.shape, dtype=np.float32)
    for index, share in shares.items():
        # Strictly greater: of equal shares the smaller index wins, in every run.
        better = share.values > best[share.box.slices]
        winner[share.box.slices][better] = index
        best[share.box.slices][better] = share.values[better]
        filled[share.box.slices] += share.values
    # What no label fills is background; it wins where it has more than the best label.
    winner[best < 1.0 - filled] = 0
    return winner


def _box(source: Image, onto: Image, world: Affine) -> Crop | None:
    """Return the box of the target grid that holds what is not zero in the source."""
    filled = around(np.asarray(source.data) != 0)
    if filled is None:
        return None
    # The outer faces of the voxels; indices are those of their centres.
    ends = [(part.start - 0.5, part.stop - 0.5) for part in filled.slices]
    corners = np.array([(*corner, 1.0) for corner in product(*ends)]).T
    seen = np.linalg.inv(onto.affine) @ np.linalg.inv(world) @ source.affine @ corners
    # A voxel more on each side: boxes that the label only touches have a share, too.
    first = np.maximum(np.floor(seen[:3].min(axis=1)).astype(int) - 1, 0)
    last = np.minimum(np.ceil(seen[:3].max(axis=1)).astype(int) + 2, onto.shape)
    if (first >= last).any():
        return None
    return crop_between(first, last, onto.shape)


def _samples(
    source: Image, onto: Image, *, world: Affine, box: Crop, order: int, fill: float = 0.0
) -> Iterator[Array]:
    """Yield the source sampled at each point of the lattice inside the voxels of a box."""
    step = between(source.affine, onto.affine, world)
    counts = _lattice(source, onto)
    first = np.array(box.start, dtype=np.float64)
    data = np.asarray(source.data).astype(np.float32)
    # A depth continues beyond its crop as at the edge, where it is negative. A share ends with 0;
    # SciPy's plain "constant" would not interpolate between the last voxel and that 0.
    mode = "nearest" if np.isinf(fill) else "grid-constant"
    # Middles of n equal parts of an edge, in voxels from the centre: -0.5 to 0.5.
    for point in product(*((np.arange(n) + 0.5) / n - 0.5 for n in counts)):
        offset = apply(step, first + point)
        yield ndimage.affine_transform(
            data, step[:3, :3], offset, box.shape, np.float32, order=order, mode=mode
        )


def _lattice(source: Image, onto: Image) -> tuple[int, int, int]:
    """Return how many samples along each axis of a target voxel resolve the source voxels."""
    step_mm = STEP_FRACTION * min(source.grid.voxel_size_mm)
    x, y, z = (
        # Voxel sizes are rounded in headers: 1e-3 keeps 4.00001 steps from becoming 5.
        min(max(int(np.ceil(size / step_mm - 1e-3)), 1), MAXIMUM_SAMPLES)
        for size in onto.grid.voxel_size_mm
    )
    return x, y, z
