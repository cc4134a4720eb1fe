"""Which slices of an image to show, and what other images hold there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import ndimage

from bids_qsmthal.core.affine import apply, apply_to_columns, between, directions
from bids_qsmthal.core.crop import Crop
from bids_qsmthal.core.crop import between as crop_between
from bids_qsmthal.core.image import Image, reoriented

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_qsmthal.core.image import Affine

Axis = Literal[0, 1, 2]

AXIS_NAMES = ("x", "y", "z")
SIDES = (("P", "A"), ("L", "R"), ("L", "R"))
"""What lies at the left and right edge of a sagittal, coronal and axial slice."""

MARGIN_MM = 4.0

ROUNDING_VOXELS = 1e-3
"""A mask on the same grid must not gain a slice by the rounding of an inverse matrix."""


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """Slices of one image along one axis of the RAS-nearest grid, all cropped alike.

    Attributes
    ----------
    base
        The image, its axes nearest to R, A, S.
    box
        The part of the grid that is shown.
    axis
        The axis the slices are stacked along: 0 sagittal, 1 coronal, 2 axial.
    indices
        The slices on the grid of ``base``.
    """

    base: Image
    box: Crop
    axis: Axis
    indices: tuple[int, ...]

    @property
    def in_plane(self) -> tuple[int, int]:
        """The axes that run to the right and up in a slice."""
        right, up = (axis for axis in range(3) if axis != self.axis)
        return right, up

    @property
    def pixel_mm(self) -> tuple[float, float]:
        """Width and height of a pixel."""
        sizes = self.base.grid.voxel_size_mm
        right, up = self.in_plane
        return sizes[right], sizes[up]

    def labels(self) -> list[str]:
        """Return the world coordinate of the middle of each slice, ``z = 12 mm``."""
        middle = np.array([(part.start + part.stop - 1) / 2 for part in self.box.slices])
        places_mm = []
        for index in self.indices:
            middle[self.axis] = index
            places_mm.append(float(apply(self.base.affine, middle)[self.axis]))
        whole = [f"{place:z.0f}" for place in places_mm]
        # Neighbours a millimetre apart may round to the same number.
        texts = whole if len(set(whole)) == len(whole) else [f"{p:z.1f}" for p in places_mm]
        return [f"{AXIS_NAMES[self.axis]} = {text} mm".replace("-", "\u2212") for text in texts]

    def own_tiles(self) -> NDArray[np.float32]:
        """Return the slices of the image itself, shape (slices, up, right)."""
        # Arrays are (right, up) in a slice; pictures have rows first.
        tiles = [self._slice(self.base.data, index).T for index in self.indices]
        return np.stack(tiles).astype(np.float32)

    def tiles(
        self, image: Image, *, world: Affine | None = None, order: int = 1
    ) -> NDArray[np.float32]:
        """Sample another image at the voxels of the slices, shape (slices, up, right).

        ``world`` takes a world point of the shown image to the world of the other one.
        """
        step = between(image.affine, self.base.affine, world)
        tiles = []
        for index in self.indices:
            points = apply_to_columns(step, self._voxels(index))
            values = _sampled(image.data, points, order)
            right, up = (self.box.slices[axis] for axis in self.in_plane)
            tiles.append(values.reshape(right.stop - right.start, up.stop - up.start).T)
        return np.stack(tiles)

    def _slice(self, data: NDArray[np.generic], index: int) -> NDArray[np.generic]:
        part: list[slice | int] = list(self.box.slices)
        part[self.axis] = index
        return data[tuple(part)]

    def _voxels(self, index: int) -> NDArray[np.float64]:
        ranges = [np.arange(part.start, part.stop) for part in self.box.slices]
        ranges[self.axis] = np.array([index])
        return np.stack([axis.ravel() for axis in np.meshgrid(*ranges, indexing="ij")])


def _sampled(
    data: NDArray[np.generic], points: NDArray[np.floating], order: int
) -> NDArray[np.float32]:
    """Return the values of a volume at points (3, n) in voxels, zero outside."""
    nearest = np.rint(points)
    limits = np.reshape(data.shape, (3, 1))
    same = np.abs(points - nearest).max() < ROUNDING_VOXELS
    # Most of what is drawn lies on the grid that is shown: there is nothing to interpolate.
    if same and (nearest >= 0).all() and (nearest < limits).all():
        return np.asarray(data[tuple(nearest.astype(np.intp))], np.float32)
    return np.asarray(ndimage.map_coordinates(data, points, order=order, output=np.float32))


def cut(
    image: Image, *, show: Image | None, through: Image | None, axis: Axis = 2, count: int = 12
) -> Cut:
    """Choose slices of an image.

    Parameters
    ----------
    image
        A 3-D image in any orientation.
    show
        Mask whose bounding box is shown, with a margin; the head's own box by default.
    through
        Mask that the slices must pass through; ``show`` by default.
    axis
        Stack along x, y or z.
    count
        At most so many slices: evenly spaced, or those that show most of ``through``.
    """
    # Axes nearest to R, A, S: the left of a picture is the participant's left in every scan.
    base = reoriented(image)
    box = bounds(base, show)
    if through is not None and np.any(through.data):
        return Cut(base, box, axis, telling(profile(base, through, axis), count))
    target = bounds(base, show, margin_mm=0.0)
    first, last = target.slices[axis].start, target.slices[axis].stop - 1
    # The outermost slices of a brain show little.
    spare = (last - first) / (count + 1)
    # Fewer slices than asked for: each is shown once.
    indices = np.unique(np.linspace(first + spare, last - spare, count).round().astype(int))
    return Cut(base, box, axis, tuple(indices.tolist()))


def profile(base: Image, labels: Image, axis: Axis) -> NDArray[np.int_]:
    """Return how many voxels of each label lie in each slice of a grid, shape (labels, slices)."""
    data = np.asarray(labels.data)
    inside = data > 0
    voxels = np.argwhere(inside).T
    along = apply_to_columns(between(base.affine, labels.affine), voxels)[axis]
    places = np.clip(along.round().astype(int), 0, base.shape[axis] - 1)
    values, numbers = np.unique(data[inside], return_inverse=True)
    counts = np.zeros((values.size, base.shape[axis]), int)
    np.add.at(counts, (numbers, places), 1)
    return counts


def telling(counts: NDArray[np.int_], most: int) -> tuple[int, ...]:
    """Choose slices in which every label is seen near its largest, then those in between.

    Equal spacing between the first and the last slice of a region shows its two tips, and misses
    a nucleus that lies between two of them.

    Parameters
    ----------
    counts
        Voxels of each label in each slice, shape (labels, slices); each label is somewhere.
    most
        So many slices, or fewer where fewer hold anything.
    """
    sizes = counts / counts.max(axis=1, keepdims=True)
    seen = np.zeros(len(counts))
    chosen: list[int] = []
    while len(chosen) < most:
        gains = np.maximum(sizes - seen[:, None], 0.0).sum(axis=0)
        best = int(gains.argmax())
        # Every label has been seen well: the other places are for what lies between.
        if gains[best] < WELL_SEEN:
            break
        chosen.append(best)
        seen = np.maximum(seen, sizes[:, best])
    return tuple(sorted([*chosen, *_between(counts, chosen, most - len(chosen))]))


WELL_SEEN = 0.25
"""A further slice that shows a label by a quarter of its largest size better is worth its place."""


def _between(counts: NDArray[np.int_], chosen: list[int], more: int) -> list[int]:
    """Return further slices: where most of the labels lies, far from those that are chosen."""
    # Each label counts alike, else a large one would take every place.
    share = (counts / counts.sum(axis=1, keepdims=True)).sum(axis=0)
    middles = (np.arange(more + len(chosen)) + 0.5) / (more + len(chosen)) * share.sum()
    wanted = set(np.searchsorted(np.cumsum(share), middles).tolist())
    others = set(np.flatnonzero(share).tolist())
    added: list[int] = []
    for candidates in (wanted, others):
        free = sorted(candidates - set(chosen) - set(added))
        while free and len(added) < more:
            there = np.array([*chosen, *added])
            # The one farthest from all that are shown; the first of equals.
            gaps = [np.abs(there - one).min() if there.size else 0 for one in free]
            added.append(free.pop(int(np.argmax(gaps))))
    return added


def tilt_degrees(image: Image) -> float:
    """Return the largest angle between an axis of the image and the nearest world axis."""
    # After the reorientation the diagonal holds the cosine with the axis nearest.
    cosines = np.diag(directions(reoriented(image).affine))
    return float(np.degrees(np.arccos(np.clip(cosines, -1, 1))).max())


def bounds(base: Image, mask: Image | None, margin_mm: float = MARGIN_MM) -> Crop:
    """Return the box of a grid that holds a mask of any grid (the head by default)."""
    inside = _head(base) if mask is None or not np.any(mask.data) else mask
    voxels = _ends(np.asarray(inside.data) > 0)
    points = apply_to_columns(between(base.affine, inside.affine), voxels)
    low = np.floor(points.min(1) + ROUNDING_VOXELS)
    high = np.ceil(points.max(1) - ROUNDING_VOXELS)
    margin = np.ceil(margin_mm / np.array(base.grid.voxel_size_mm))
    start = np.clip(low - margin, 0, np.array(base.shape) - 1).astype(int)
    stop = np.clip(high + margin, start, np.array(base.shape) - 1).astype(int) + 1
    return crop_between(start, stop, base.shape)


def _ends(inside: NDArray[np.bool_]) -> NDArray[np.int_]:
    """Return the first and last voxel of each column of a mask, shape (3, n).

    The extremes of any direction are among them, and they are far fewer than all voxels.
    """
    columns = np.argwhere(inside.any(axis=2))
    held = inside[columns[:, 0], columns[:, 1]]
    first = held.argmax(axis=1)
    last = held.shape[1] - 1 - held[:, ::-1].argmax(axis=1)
    ends = [np.column_stack([columns, end]) for end in (first, last)]
    return np.asarray(np.concatenate(ends).T)


def _head(base: Image) -> Image:
    """Return where there is signal: above a tenth of the 99th percentile; all of it if nowhere."""
    values = np.abs(np.nan_to_num(np.asarray(base.data, np.float32)))
    # Every second voxel along each axis: a percentile of an eighth of them is good enough.
    signal = values > 0.1 * np.percentile(values[::2, ::2, ::2], 99)
    return base.like(signal if signal.any() else np.ones_like(signal))
