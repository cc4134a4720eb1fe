"""Regions of a user's own atlas, carried to the grids of a participant."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.anatomy import atlas
from bids_qsmthal.anatomy.warping import map_points, world_points
from bids_qsmthal.core import crop
from bids_qsmthal.core.affine import apply

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bids_qsmthal.anatomy.warping import Points, Warp
    from bids_qsmthal.core.image import Image

Voxels = NDArray[np.int64]
"""Places of voxels in the flat array of a grid."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UserAtlas:
    """An atlas as a user has it.

    Attributes
    ----------
    name
        The user's word for it: letters and digits.
    file_name
        Of the file it was read from, for provenance.
    image
        Labels, shape (x, y, z), integers; or one probability for each region, shape (x, y, z, n),
        float32.
    names
        The name of each region by its number: that of the label, or 1 for the first probability.
    in_template
        Whether its world is that of the packaged template; else it is that of T1w.
    threshold
        Probability above which a voxel belongs to a region.
    colors
        The colour (``#RRGGBB``) of each region that the user gave one, by its number.
    """

    name: str
    file_name: str
    image: Image
    names: Mapping[int, str]
    in_template: bool
    threshold: float
    colors: Mapping[int, str] = field(default_factory=dict)

    @property
    def labelled(self) -> bool:
        """Whether it has labels, not probabilities."""
        return self.image.data.ndim == 3

    @property
    def inside(self) -> float:
        """Share of its voxels that lie in the brain of the template, which is MNI's."""
        data = self.image.data
        own = data > 0 if self.labelled else (data > self.threshold).any(axis=3)
        brain = sum(
            atlas.template(f"label-{tissue}_probseg").data.astype(np.float32)
            for tissue in ("GM", "WM", "CSF")
        )
        points = apply(self.image.affine, np.argwhere(own))
        affine = atlas.template("label-GM_probseg").affine
        index = apply(np.linalg.inv(affine), points).T
        # 255 stands for 1: half of a voxel is brain.
        return float((ndimage.map_coordinates(brain, index, order=0) > 127).mean())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CarriedAtlas:
    """The regions of one atlas in a participant.

    Attributes
    ----------
    labels
        On the grid of T1w, int32; where regions of probabilities overlap the most probable.
    numbers
        Of the regions, ascending.
    on_t1w
        Voxels of each region on the grid of T1w; those of probabilities may overlap.
    on_gre
        The same on the grid of the gradient echo; empty without one.
    """

    labels: Image
    numbers: tuple[int, ...]
    on_t1w: tuple[Voxels, ...]
    on_gre: tuple[Voxels, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class CarriedAtlases:
    """All atlases of a run in a participant, in the user's order."""

    atlases: tuple[CarriedAtlas, ...]


class _Region(NamedTuple):
    """Voxels of a region on a grid, and how probable it is in each; 1 for labels."""

    voxels: Voxels
    probability: NDArray[np.float32]


def carried(
    atlases: tuple[UserAtlas, ...], to_template: Warp, t1w: Image, gre: Image | None
) -> CarriedAtlases:
    """Carry atlases to a participant: labels by the nearest voxel, probabilities linearly.

    Each grid is sampled once, straight from the file of the atlas.

    Parameters
    ----------
    to_template
        From T1w to the packaged template.
    t1w, gre
        Images whose grids are wanted, both in the world of T1w.
    """
    return CarriedAtlases(tuple(_carried(one, to_template, t1w, gre) for one in atlases))


def _carried(one: UserAtlas, to_template: Warp, t1w: Image, gre: Image | None) -> CarriedAtlas:
    on_t1w = _on_grid(one, to_template, t1w)
    on_gre = _on_grid(one, to_template, gre) if gre is not None else {}
    return CarriedAtlas(
        labels=_most_probable(on_t1w, t1w),
        numbers=tuple(on_t1w),
        on_t1w=tuple(region.voxels for region in on_t1w.values()),
        on_gre=tuple(region.voxels for region in on_gre.values()),
    )


def _on_grid(one: UserAtlas, to_template: Warp, grid: Image) -> dict[int, _Region]:
    points = to_template.template_points(grid) if one.in_template else world_points(grid)
    index = map_points(np.linalg.inv(one.image.affine), points)
    found = dict(_labels_at(one, index) if one.labelled else _probabilities_at(one, index))
    # A region that lies beyond the grid has no voxel there, and is told all the same.
    nothing = _Region(np.empty(0, np.int64), np.empty(0, np.float32))
    return {number: found.get(number, nothing) for number in sorted(one.names)}


def _labels_at(one: UserAtlas, index: Points) -> Iterator[tuple[int, _Region]]:
    """Yield the voxels of each label: one sampling for all of them."""
    sampled = ndimage.map_coordinates(one.image.data, index, np.int32, order=0, cval=0).ravel()
    voxels = np.flatnonzero(sampled)
    # Sorted by label, stable: the voxels of each stay in the order of the grid.
    voxels = voxels[np.argsort(sampled[voxels], kind="stable")]
    numbers, starts = np.unique(sampled[voxels], return_index=True)
    for number, own in zip(numbers.tolist(), np.split(voxels, starts[1:]), strict=False):
        yield number, _Region(own, np.ones(own.size, np.float32))


def _probabilities_at(one: UserAtlas, index: Points) -> Iterator[tuple[int, _Region]]:
    """Yield the voxels of each region whose interpolated probability is above the threshold."""
    flat = index.reshape(3, -1)
    for number in one.names:
        volume = one.image.data[..., number - 1]
        # A bundle fills a small part of the head: nothing is interpolated where it is zero.
        box = crop.around(volume > 0, margin=(1, 1, 1))
        if box is None:
            continue
        start = np.array(box.start, np.float32)[:, None]
        last = start + np.array(box.shape, np.float32)[:, None] - 1
        near = np.flatnonzero(((flat >= start) & (flat <= last)).all(axis=0))
        sampled = ndimage.map_coordinates(volume, flat[:, near], np.float32, order=1, cval=0)
        chosen = sampled > one.threshold
        yield number, _Region(near[chosen], sampled[chosen])


def _most_probable(regions: Mapping[int, _Region], grid: Image) -> Image:
    labels = np.zeros(grid.shape, np.int32)
    best = np.zeros(grid.shape, np.float32)
    for number, region in regions.items():
        # ravel gives a view of an array that was just made: its voxels are set in place.
        wins = region.voxels[region.probability > best.ravel()[region.voxels]]
        best.ravel()[region.voxels] = np.maximum(best.ravel()[region.voxels], region.probability)
        labels.ravel()[wins] = number
    return grid.like(labels)
