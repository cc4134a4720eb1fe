"""Deep gray nuclei of CIT168 (Pauli 2018, doi 10.1038/sdata.2018.63), varied for each head.

The app finds nuclei by registering the same atlas. Nuclei that only followed the warp of the rest
of the head would make that test circular. So they move and grow beside it: a smooth random
displacement on top of the warp, and a random volume for each nucleus of each side. How far real
nuclei lie from a registered atlas is assumed (``Variation``), not measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.core.affine import apply, apply_to_columns
from bids_qsmthal.core.crop import Crop, around, between
from bids_qsmthal.core.distance import distance_mm
from bids_qsmthal.core.labels import LATERAL_VENTRICLE, MIDBRAIN, PARTS, SIDES, parsed
from bids_qsmthal.simulate.templates import StructureMap, stored, stored_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bids_qsmthal.core.image import Affine

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]

CIT168: Final = "desc-subcortex_dseg"

BASAL_GANGLIA: Final = ("putamen", "caudate", "accumbens", *PARTS)

MARGIN: Final = 8
"""Voxels (1 mm) round the nuclei: how far any of them may move and grow."""

EDGE_SIGMA_MM: Final = 0.8
"""Takes the steps of voxels off a border, as for other structures of the atlas."""

SEARCH_MM: Final = 5
PER_MM2: Final = 0.002
"""A shift of 5 mm must bring 5 % more of the midbrain nuclei into the ventral diencephalon."""

VENTRICLE_MM: Final = 4.0
"""Nuclei do not move at the wall of a lateral ventricle, of which the caudate and the accumbens are
part, and move freely this far from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """How the nuclei of a person differ from those of the warped atlas.

    Attributes
    ----------
    shift_mm
        Root mean square length of the displacement.
    smooth_mm
        Standard deviation of the Gaussian that makes it smooth: neighbours move together.
    volume
        Standard deviation of the volume, relative.
    """

    shift_mm: float = 1.0
    smooth_mm: float = 8.0
    volume: float = 0.06


class _Outline(NamedTuple):
    """Distance to the border of a nucleus (mm, positive inside), and its volume (mm3)."""

    signed_mm: Float
    volume_mm3: float


@dataclass(frozen=True, slots=True, eq=False)
class _Atlas:
    """Outlines by name such as ``caudate_L`` in one box; how freely nuclei move there (0 to 1)."""

    affine: Affine
    shape: tuple[int, int, int]
    outlines: Mapping[str, _Outline]
    free: Float

    def index(self, points_mm: NDArray[np.floating]) -> Float:
        """Return the indices (3, n) in the box of points (3, n) in atlas mm."""
        return np.asarray(apply_to_columns(np.linalg.inv(self.affine), points_mm), np.float32)

    def signed_mm(self, name: str, index: Float) -> Float:
        """Return the distance of points (indices of the box) to the border of a nucleus."""
        return _sampled(self.outlines[name].signed_mm, index)


@lru_cache(maxsize=1)
def _atlas() -> _Atlas:
    labels = stored(CIT168)
    crop = around(labels.data > 0, margin=(MARGIN, MARGIN, MARGIN))
    if crop is None:
        raise ValueError("the atlas of nuclei is empty")
    boxed = crop.cut(labels.data)
    outlines = {}
    for index, name in stored_names(CIT168).items():
        region = parsed(name)
        inside = boxed == index
        # Centre to centre a distance jumps from -1 to 1 across the border.
        signed = np.where(
            inside, distance_mm(~inside, (1, 1, 1)) - 0.5, 0.5 - distance_mm(inside, (1, 1, 1))
        )
        outlines[f"{region.name}_{region.hemisphere}"] = _Outline(
            ndimage.gaussian_filter(signed.astype(np.float32), EDGE_SIGMA_MM), float(inside.sum())
        )
    ventricle = crop.cut(np.isin(stored("desc-deepgray_dseg").data, LATERAL_VENTRICLE))
    free = np.clip(distance_mm(ventricle, (1, 1, 1)) / np.float32(VENTRICLE_MM), 0, 1)
    return _Atlas(crop.affine(labels.affine), crop.shape, outlines, free)


def _sampled(data: Float, index: Float) -> Float:
    return np.asarray(
        ndimage.map_coordinates(data, index, order=1, mode="nearest", output=np.float32)
    )


def draw_nuclei(
    shape: tuple[int, int, int],
    affine: Affine,
    generator: np.random.Generator,
    names: tuple[str, ...] = (*BASAL_GANGLIA, *MIDBRAIN),
    within: Mask | None = None,
    variation: Variation | None = None,
) -> dict[str, StructureMap]:
    """Draw the nuclei of one person.

    Parameters
    ----------
    shape, affine
        The grid; ``affine`` leads to atlas mm, and its axes may lie in any way.
    generator
        Source of randomness.
    names
        Which nuclei; the others are drawn and not returned, so that each has its own randomness.
    within
        Where on the grid nuclei may lie; anywhere by default.
    variation
        ``Variation()`` by default.

    Returns
    -------
    dict
        Name and side such as ``putamen_L`` to its map, in the order of the atlas's label table; a
        side that has no voxel is left out.
    """
    how = variation or Variation()
    atlas = _atlas()
    moved = _displacement_mm(atlas, how, generator)
    crop = _reach(atlas, shape, affine)
    points = np.indices(crop.shape, np.float32).reshape(3, -1)
    index = atlas.index(apply_to_columns(crop.affine(affine), points))
    # The box has voxels of 1 mm along the axes of the atlas: mm are voxels.
    index += np.stack([_sampled(part, index) for part in moved])
    voxel_mm3 = abs(float(np.linalg.det(affine[:3, :3])))
    limit = None if within is None else _inside_mm(crop.cut(within)).reshape(-1)
    found = {}
    for name, outline in atlas.outlines.items():
        volume_mm3 = outline.volume_mm3 * max(1 + how.volume * generator.standard_normal(), 0.5)
        if name.rpartition("_")[0] not in names:
            continue
        signed = atlas.signed_mm(name, index)
        signed -= _level(signed, round(volume_mm3 / voxel_mm3))
        if limit is not None:
            signed = np.minimum(signed, limit)
        if (signed > 0).any():
            # The slope of .5 per mm that ``compositions`` takes for a border.
            probability = np.clip(0.5 + 0.5 * signed, 0, 1).reshape(crop.shape)
            found[name] = StructureMap(probability.astype(np.float32), crop)
    return side_by_side(found)


def side_by_side(maps: Mapping[str, StructureMap]) -> dict[str, StructureMap]:
    """Return maps of one box that share borders, such that nothing comes to lie between them.

    Each is laid over those before it and takes its fraction of what is there. Where two nuclei have
    a half each, the first would keep a quarter, and a quarter would be what is below both. So each
    is divided by what those after it leave.
    """
    left: Float | float = 1.0
    found = {}
    for name, part in reversed(list(maps.items())):
        fraction = np.clip(2 * part.probability - 0.5, 0, 1)
        grown = np.minimum(fraction / np.maximum(left, np.float32(1e-3)), 1)
        found[name] = StructureMap(np.asarray(0.25 + 0.5 * grown, np.float32), part.crop)
        left = left * (1 - grown)
    return dict(reversed(list(found.items())))


def _displacement_mm(
    atlas: _Atlas, how: Variation, generator: np.random.Generator
) -> NDArray[np.float32]:
    """Return how far the nuclei are displaced in the box of the atlas, shape (3, x, y, z)."""
    noise = generator.standard_normal((3, *atlas.shape), dtype=np.float32)
    smooth = np.stack([ndimage.gaussian_filter(part, how.smooth_mm, mode="wrap") for part in noise])
    # Each of three directions has a third of the square.
    axis_mm = how.shift_mm / np.sqrt(3)
    deviation = smooth.std(axis=(1, 2, 3), keepdims=True)
    return np.asarray(smooth / deviation * axis_mm * atlas.free, np.float32)


def _reach(atlas: _Atlas, shape: tuple[int, int, int], affine: Affine) -> Crop:
    """Return the part of a grid that the box of the atlas reaches."""
    corners = np.array(list(product(*((0, n - 1) for n in atlas.shape))))
    index = apply(np.linalg.inv(affine) @ atlas.affine, corners)
    first = np.clip(np.floor(index.min(axis=0)), 0, np.array(shape) - 1).astype(int)
    end = np.clip(np.ceil(index.max(axis=0)) + 1, first + 1, shape).astype(int)
    return between(first.tolist(), end.tolist(), shape)


def _level(signed: Float, voxels: int) -> np.float32:
    """Return the level that so many voxels exceed."""
    last = min(max(voxels, 1), signed.size - 1)
    return np.float32(np.partition(signed, signed.size - last)[signed.size - last])


def _inside_mm(mask: Mask) -> Float:
    """Return the distance to the border of a mask of 1 mm voxels, positive inside."""
    inside, outside = distance_mm(~mask, (1, 1, 1)), distance_mm(mask, (1, 1, 1))
    return np.where(mask, inside - 0.5, 0.5 - outside).astype(np.float32)


def midbrain_affine(affine: Affine, ventral_dc: Mask, brain_mm3: float) -> Affine:
    """Return where the nuclei of the midbrain lie in a labelled head, as voxel to atlas mm.

    They are as large beside the brain as in the atlas, and moved to where most of them lies in the
    ventral diencephalon: FreeSurfer counts them to it but for their lower ends. Registration plays
    no part in it.

    Parameters
    ----------
    affine
        Voxels of 1 mm to atlas mm, from landmarks.
    ventral_dc
        Where the label is; if nowhere, nothing is moved.
    brain_mm3
        Volume inside the skull.
    """
    atlas = _atlas()
    inside = np.max([atlas.outlines[f"{n}_{s}"].signed_mm for n in MIDBRAIN for s in SIDES], axis=0)
    points = apply(atlas.affine, np.argwhere(inside > 0))
    centre = points.mean(axis=0)
    voxel_mm3 = abs(float(np.linalg.det(affine[:3, :3])))
    atlas_mm3 = float((stored("T1w").data > 0).sum())
    factor = np.cbrt(atlas_mm3 / (brain_mm3 * voxel_mm3))
    sized = np.diag([factor] * 3 + [1.0])
    sized[:3, 3] = (1 - factor) * centre
    back = np.linalg.inv(sized @ affine)
    ways = [np.array(way, float) for way in product(range(-SEARCH_MM, SEARCH_MM + 1), repeat=3)]
    index = apply(back, points).T
    shares = [
        _share(ventral_dc, index + (back[:3, :3] @ way)[:, None]) - way @ way * PER_MM2
        for way in ways
    ]
    best = ways[int(np.argmax(shares))] if ventral_dc.any() else np.zeros(3)
    moved = np.eye(4)
    moved[:3, 3] = -best
    return np.asarray(moved @ sized @ affine)


def _share(mask: Mask, index: NDArray[np.float64]) -> float:
    """Return how many of some indices (3, n) lie in a mask, as a fraction."""
    near = np.clip(np.round(index).astype(int), 0, np.array(mask.shape)[:, None] - 1)
    return float(mask[tuple(near)].mean())


def is_internal(points_mm: NDArray[np.floating], side: str) -> Mask:
    """Return which points of a pallidum (atlas mm, shape (3, n)) are of its internal part.

    The atlas is shifted onto the middle of the points first: both have one centre.
    """
    atlas = _atlas()
    signed = {name: atlas.outlines[f"{name}_{side}"].signed_mm for name in PARTS}
    centre = np.argwhere(np.maximum(*signed.values()) > 0).mean(axis=0)
    index = atlas.index(points_mm)
    index += (centre - index.mean(axis=1))[:, None].astype(np.float32)
    external, internal = (_sampled(signed[name], index) for name in PARTS)
    return np.asarray(internal > external)


def over_brainstem(
    structures: Mapping[str, StructureMap], nuclei: Mapping[str, StructureMap]
) -> dict[str, StructureMap]:
    """Return all structures in the order in which they are laid over each other.

    Nuclei lie in the brainstem, and give way to the thalamus and all others.
    """
    under = {name: part for name, part in structures.items() if name == "brainstem"}
    return under | dict(nuclei) | {k: v for k, v in structures.items() if k not in under}
