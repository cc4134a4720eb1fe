"""What fills each point of a participant's head: fractions of tissues, on any grid.

A head is a function of space. Each scan samples it on its own grid in its own pose, so no scan
is a resampled version of another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.core.affine import apply_to_columns, between
from bids_qsmthal.core.image import Affine, Image
from bids_qsmthal.core.labels import PARTS, SIDES, TABLE
from bids_qsmthal.simulate.envelope import DURA_MM, SCALP_MM, SKULL_MM, LabelledEnvelope
from bids_qsmthal.simulate.tissues import NAMES, ROW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bids_qsmthal.simulate.head_model import Head
    from bids_qsmthal.simulate.templates import StructureMap

Float = NDArray[np.float32]

SHARPNESS: Final = 3
"""Exponent that turns the blurred priors of an average brain into the borders of one brain."""

CHUNK: Final = 1_000_000
SUBCUTANEOUS_MM: Final = 5.0
DEEP_LABELS: Final = tuple(
    f"{name}_{side}"
    for name in (
        *("thalamus", "caudate", "putamen", "pallidum_external", "hippocampus"),
        *("red_nucleus", "substantia_nigra", "dentate"),
        *("accumbens", "pallidum_internal", "subthalamic_nucleus"),
    )
    for side in SIDES
)
"""Order of the labels 1, 2, ... of the deep gray truth."""

REGIONS: Final[dict[str, tuple[str, ...]]] = {
    name.removesuffix("_L"): (name.removesuffix("_L"),) for name in DEEP_LABELS[::2]
} | {"pallidum": PARTS}
"""Regions of which something is true, and which of ``DEEP_LABELS`` each is made of."""


FREESURFER: Final = {
    f"{part}_{side}": index
    for name, parts in REGIONS.items()
    if TABLE.structure(name).indices
    for side, index in zip(SIDES, TABLE.pair(name), strict=True)
    for part in parts
}
"""FreeSurfer's number of each of ``DEEP_LABELS`` that it has a number for."""


def labels_of(region: str, sides: tuple[str, ...] = SIDES) -> tuple[int, ...]:
    """Return the labels of one of ``REGIONS``, left and right ones by default."""
    return tuple(
        DEEP_LABELS.index(f"{name}_{side}") + 1 for name in REGIONS[region] for side in sides
    )


TRACE: Final = 0.01
"""A point with less plexus than this has none."""


@dataclass(frozen=True, slots=True, eq=False)
class Inner:
    """What only points inside the dura have.

    Attributes
    ----------
    deep
        Fractions of ``DEEP_LABELS``, shape (labels, n).
    ventricle, atria
        Fractions of the lateral ventricles and of their atria.
    thalamus_offset_ppb
        Susceptibility of the thalamic nuclei about the mean of the thalami.
    """

    deep: Float
    ventricle: Float
    atria: Float
    thalamus_offset_ppb: Float

    def labels(self) -> NDArray[np.uint8]:
        """Return the deep gray label of each point that is mostly one structure, else 0."""
        best = self.deep.argmax(axis=0)
        fraction = np.take_along_axis(self.deep, best[None], axis=0)[0]
        return np.where(fraction >= 0.5, best + 1, 0).astype(np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Composition of some points of a grid.

    Attributes
    ----------
    flat
        Index of each point in the raveled grid, shape (n,).
    fractions
        Shape (tissues, n), in the order of ``tissues.NAMES``; sums to 1.
    inner
        None outside the dura.
    """

    flat: NDArray[np.intp]
    fractions: Float
    inner: Inner | None = None

    def fraction(self, *names: str) -> Float:
        """Return the fraction of some tissues together."""
        return np.asarray(self.fractions[[ROW[name] for name in names]].sum(axis=0))

    def masks(self) -> dict[str, NDArray[np.bool_]]:
        """Return which points are mostly lesion, enhancing lesion, plexus, ventricle, atria.

        ``plexus_trace`` holds the points with any plexus at all.
        """
        fraction = {
            "lesion": self.fraction("lesion", "enhancing"),
            "enhancing": self.fraction("enhancing"),
            "plexus": self.fraction("plexus", "calcification"),
        }
        if self.inner is not None:
            fraction |= {"ventricle": self.inner.ventricle, "atria": self.inner.atria}
        mostly = {name: values >= 0.5 for name, values in fraction.items()}
        return mostly | {"plexus_trace": fraction["plexus"] >= TRACE}


def sampled(level: Image, affine: Affine, shape: tuple[int, int, int]) -> Float:
    """Sample a smooth map of the head on a grid whose ``affine`` leads to head mm."""
    step = between(level.affine, affine)
    return np.asarray(
        ndimage.affine_transform(
            level.data, step[:3, :3], step[:3, 3], shape, np.float32, order=1, mode="nearest"
        )
    )


def compositions(
    head: Head, affine: Affine, shape: tuple[int, int, int], *, brain_only: bool = False
) -> Iterator[Chunk]:
    """Compose a head on a grid, some points at a time.

    Parameters
    ----------
    head
        The participant.
    affine, shape
        The grid; ``affine`` leads from voxels to head mm.
    brain_only
        Leave out what is beyond the dura. Air outside the head is always left out.
    """
    depth = sampled(head.envelope.depth, affine, shape).reshape(-1)
    # Chunks bound the memory: all fractions of all points of a fine grid would take gigabytes.
    inside = np.flatnonzero(depth <= DURA_MM)
    for start in range(0, inside.size, CHUNK):
        flat = inside[start : start + CHUNK]
        yield _brain(head, flat, _points(flat, affine, shape), depth[flat])
    if brain_only:
        return
    if isinstance(head.envelope, LabelledEnvelope):
        beyond = np.flatnonzero(depth > DURA_MM)
        for start in range(0, beyond.size, CHUNK):
            flat = beyond[start : start + CHUNK]
            yield _labelled_shell(head.envelope, flat, _points(flat, affine, shape), depth[flat])
        return
    outer = sampled(head.envelope.outer, affine, shape).reshape(-1)
    # Level sets are soft over 1 mm: half a millimetre beyond the skin there is still some of it.
    around = np.flatnonzero((depth > DURA_MM) & (outer < 1.0))
    air = sampled(head.envelope.air, affine, shape).reshape(-1)
    eyes = sampled(head.envelope.eyes, affine, shape).reshape(-1)
    for start in range(0, around.size, CHUNK):
        flat = around[start : start + CHUNK]
        yield Chunk(flat, shell_fractions(depth[flat], outer[flat], air[flat], eyes[flat]))


def _points(flat: NDArray[np.intp], affine: Affine, shape: tuple[int, int, int]) -> Float:
    index = np.stack(np.unravel_index(flat, shape)).astype(np.float32)
    return np.asarray(apply_to_columns(affine.astype(np.float32), index))


def _step(level: Float, width: float = 1.0) -> Float:
    """Fraction of a point on the negative side of a level set whose border is ``width`` mm soft."""
    return np.clip(np.float32(0.5) - level / np.float32(width), 0, 1)


def _labelled_shell(
    around_brain: LabelledEnvelope, flat: NDArray[np.intp], points_mm: Float, depth: Float
) -> Chunk:
    """Compose points outside the dura by the nearest label; the dura itself has none."""
    to_index = np.linalg.inv(around_brain.tissue.affine).astype(np.float32)
    index = np.round(apply_to_columns(to_index, points_mm)).astype(np.intp)
    # Beyond the map its last voxels go on: air above, a neck that was cut below.
    last = np.array(around_brain.tissue.shape)[:, None] - 1
    row = around_brain.tissue.data[tuple(np.clip(index, 0, last))]
    dura = _step(depth - SKULL_MM)
    fractions = np.zeros((len(NAMES), flat.size), np.float32)
    fractions[row, np.arange(flat.size)] = 1 - dura
    fractions[ROW["dura"]] += dura
    return Chunk(flat, fractions)


def shell_fractions(depth: Float, outer: Float, air: Float, eyes: Float) -> Float:
    """Return the composition outside the dura, shape (tissues, n)."""
    fractions = np.zeros((len(NAMES), depth.size), np.float32)
    rest = np.ones_like(depth)

    def fill(name: str, fraction: Float) -> None:
        nonlocal rest
        # Each tissue takes from what the ones before left: order is priority, and fractions sum to
        # one.
        fractions[ROW[name]] += rest * fraction
        rest = rest * (1 - fraction)

    fill("air", np.maximum(_step(-outer), _step(air)))
    fill("eye", _step(eyes))
    fill("dura", _step(depth - SKULL_MM))
    # Diploe: a layer of 2.4 mm in the middle of the skull.
    marrow = _step(np.abs(depth - 0.5 * (SKULL_MM + SCALP_MM)) - 1.2)
    fill("marrow", marrow)
    fill("skull", _step(depth - SCALP_MM))
    fill("mucosa", _step(air - 1.5))
    fill("fat", _step(-outer - SUBCUTANEOUS_MM))
    fractions[ROW["muscle"]] += rest
    return fractions


def _brain(head: Head, flat: NDArray[np.intp], points_mm: Float, depth: Float) -> Chunk:
    """Compose points inside the dura."""
    atlas_mm = head.warp.to_atlas(points_mm)
    to_index = np.linalg.inv(head.templates.affine).astype(np.float32)
    index = np.asarray(apply_to_columns(to_index, atlas_mm), np.float32)
    fractions = np.zeros((len(NAMES), flat.size), np.float32)
    fractions[:3] = _classes(head, index, depth)
    deep = _add_structures(head, index, atlas_mm, fractions)
    ventricle = _add_ventricles(head, index, fractions, deep)
    # Before plexus and lesions: these take from what is there and keep the sum.
    fractions /= fractions.sum(axis=0)
    atria = np.zeros(flat.size, np.float32)
    where, fraction = _inside(head.templates.atria, index)
    # The atlas's atria are a region of the ventricle: what of it is fluid in this head counts.
    atria[where] = fraction * ventricle[where]
    _add_plexus(head, points_mm, fractions, ventricle)
    _add_lesions(head, points_mm, fractions)
    return Chunk(flat, fractions, Inner(deep, ventricle, atria, nuclei_offset_ppb(head, atlas_mm)))


def _classes(head: Head, index: Float, depth: Float) -> Float:
    """Return fractions of gray, white and CSF from the sharpened priors, shape (3, n)."""
    prior = np.empty((3, depth.size), np.float32)
    for row, source in enumerate((head.templates.gray, head.templates.white, head.templates.csf)):
        prior[row] = ndimage.map_coordinates(source, index, order=1, output=np.float32)
    prior[0] *= np.float32(1 - head.cortical_loss)
    # Fluid fills what lies between the brain's hull and the dura; a trace everywhere keeps the sum
    # from zero where the template is empty.
    filling = np.float32(0) if head.templates.fluid_fills else _step(-depth)
    prior[2] += filling + np.float32(0.02)
    # An average of many brains is blurred: its fractions, sharpened, are those of one.
    prior **= SHARPNESS
    return np.asarray(prior / prior.sum(axis=0))


def _inside(structure: StructureMap, index: Float) -> tuple[NDArray[np.intp], Float]:
    """Return the points of a box that a structure reaches, and its fraction there."""
    local = index - np.array(structure.crop.start, np.float32)[:, None]
    last = np.array(structure.crop.shape, np.float32)[:, None] - 1
    where = np.flatnonzero(((local >= 0) & (local <= last)).all(axis=0))
    probability = ndimage.map_coordinates(
        structure.probability, local[:, where], order=1, output=np.float32
    )
    # A border smoothed by 0.8 mm has a slope of about 0.5 per mm.
    fraction = np.clip(0.5 + 2 * (probability - 0.5), 0, 1)
    kept = fraction > 0
    return where[kept], fraction[kept]


def _add_structures(head: Head, index: Float, atlas_mm: Float, fractions: Float) -> Float:
    """Put the deep structures over the classes; return the fractions of ``DEEP_LABELS``."""
    deep = np.zeros((len(DEEP_LABELS), fractions.shape[1]), np.float32)
    for name, structure in head.templates.structures.items():
        where, fraction = _inside(structure, index)
        tissue = name.removesuffix("_L").removesuffix("_R")
        fractions[:, where] *= 1 - fraction
        deep[:, where] *= 1 - fraction
        if name in DEEP_LABELS:
            deep[DEEP_LABELS.index(name), where] = fraction
        if tissue == "thalamus":
            lateral = np.clip((np.abs(atlas_mm[0, where]) - 8) / 14, 0, 1)
            fractions[ROW["thalamus_lateral"], where] += fraction * lateral
            fraction = fraction * (1 - lateral)
        fractions[ROW[tissue], where] += fraction
    return deep


def _add_ventricles(head: Head, index: Float, fractions: Float, deep: Float) -> Float:
    """Fill the ventricles with CSF; return the fractions of the lateral ones."""
    lateral = np.zeros(fractions.shape[1], np.float32)
    for name, structure in head.templates.ventricles.items():
        where, fraction = _inside(structure, index)
        fractions[:, where] *= 1 - fraction
        deep[:, where] *= 1 - fraction
        fractions[ROW["csf"], where] += fraction
        if name != "ventricle_M":
            lateral[where] += fraction
    return lateral


def _add_plexus(head: Head, points_mm: Float, fractions: Float, ventricle: Float) -> None:
    """Put the choroid plexus into the atria."""
    for centre_mm, radii_mm in head.plexus:
        away = (points_mm - centre_mm[:, None]) / radii_mm[:, None]
        near = np.flatnonzero((away**2).sum(axis=0) < 4)
        level = (np.sqrt((away[:, near] ** 2).sum(axis=0)) - 1) * radii_mm.min()
        fraction = _step(level.astype(np.float32)) * np.clip(2 * ventricle[near], 0, 1)
        fractions[:, near] *= 1 - fraction
        calcified = head.calcified_fraction
        fractions[ROW["plexus"], near] += fraction * (1 - calcified)
        fractions[ROW["calcification"], near] += fraction * calcified


def _add_lesions(head: Head, points_mm: Float, fractions: Float) -> None:
    """Replace tissue by lesions, never CSF."""
    at = np.linalg.inv(head.lesions.affine).astype(np.float32)
    index = apply_to_columns(at, points_mm)
    for name, level in (("lesion", head.lesions), ("enhancing", head.enhancing)):
        values = ndimage.map_coordinates(
            level.data, index, order=1, mode="nearest", output=np.float32
        )
        where = np.flatnonzero(values < 0.5)
        fraction = _step(values[where]) * (1 - fractions[ROW["csf"], where])
        fractions[:, where] *= 1 - fraction
        fractions[ROW[name], where] += fraction


def nuclei_offset_ppb(head: Head, atlas_mm: Float) -> Float:
    """Return the susceptibility of thalamic nuclei about the mean of the thalami.

    The pulvinar holds more iron than the medial, and these more than the ventral lateral nuclei
    (Langkammer 2012); smooth here, as the nuclei's borders are in vivo.
    """
    posterior = np.tanh((-20 - atlas_mm[1]) / 5)
    lateral = np.tanh((np.abs(atlas_mm[0]) - 14) / 4)
    side = np.sign(atlas_mm[0]) * np.float32(head.thalamus_asymmetry_ppb / 2)
    return np.asarray(8 * posterior - 5 * lateral + side - head.nuclei_mean_ppb, np.float32)
