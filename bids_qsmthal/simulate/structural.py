"""T1w before and after gadolinium, and FLAIR, with the truth on the T1w grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from bids_qsmthal.core.image import Affine, Image
from bids_qsmthal.simulate.compositions import DEEP_LABELS, compositions, sampled
from bids_qsmthal.simulate.poses import finer, scan_affine
from bids_qsmthal.simulate.signals import fluid_attenuated, mprage
from bids_qsmthal.simulate.tissues import ROW, property_of, t1_with_gadolinium_s

if TYPE_CHECKING:
    from bids_qsmthal.simulate.compositions import Chunk, Inner
    from bids_qsmthal.simulate.head_model import Head

Float = NDArray[np.float32]

T1W_FIELD_OF_VIEW_MM: Final = (172.0, 216.0, 196.0)
FLAIR_FIELD_OF_VIEW_MM: Final = (180.0, 216.0, 162.0)
WHITE_LEVEL: Final = 110.0
"""White matter in stored units."""

# Nuclei of brainstem and cerebellum count as the white matter around them, and lesions as the white
# matter that they were; so does ``anatomy`` count the brainstem.
GRAY_ROWS: Final = tuple(
    ROW[name]
    for name in (
        "gray",
        "thalamus",
        "thalamus_lateral",
        "caudate",
        "putamen",
        "accumbens",
        "pallidum_external",
        "pallidum_internal",
        "hippocampus",
        "amygdala",
    )
)
WHITE_ROWS: Final = tuple(
    ROW[name]
    for name in (
        "white",
        "brainstem",
        "red_nucleus",
        "substantia_nigra",
        "subthalamic_nucleus",
        "dentate",
        "lesion",
        "enhancing",
    )
)
CSF_ROWS: Final = tuple(ROW[name] for name in ("csf", "plexus", "calcification"))
MASKS: Final = ("tissue", "deep", "lesion", "enhancing", "ventricle", "atria", "plexus")


@dataclass(frozen=True, slots=True, eq=False)
class StructuralTruth:
    """Truth on the T1w grid.

    Attributes
    ----------
    tissue
        0 outside, 1 CSF, 2 gray, 3 white matter.
    deep
        Labels 1, 2, ... in the order of ``DEEP_LABELS``.
    lesion, enhancing, ventricle, atria, plexus
        Masks.
    volumes_voxels
        Sums of fractions, in voxels: partial voxels count by what they hold.
    """

    tissue: Image
    deep: Image
    lesion: Image
    enhancing: Image
    ventricle: Image
    atria: Image
    plexus: Image
    volumes_voxels: dict[str, float]


def structural_scan(head: Head, pose: Affine, grid: Image, signal: Float) -> Image:
    """Sample a contrast on a grid.

    Parameters
    ----------
    head, pose
        The participant, and head to world of the scan.
    grid
        Voxel to world; its data are not read.
    signal
        Signal of each tissue.
    """
    to_head = np.linalg.inv(pose) @ grid.affine
    image = np.zeros(grid.shape, np.float32)
    for chunk in compositions(head, to_head, grid.shape):
        image.reshape(-1)[chunk.flat] = signal @ chunk.fractions
    return grid.like(image * _unevenness(head, to_head, grid.shape))


def _unevenness(head: Head, to_head: Affine, shape: tuple[int, int, int]) -> Float:
    """Return the factor by which tissue differs from its mean: 1.5 %."""
    return 1 + np.float32(0.015) * sampled(head.texture, to_head, shape)


def t1w_signal(*, gadolinium: bool) -> Float:
    """Return the MPRAGE magnitude of each tissue, white matter at ``WHITE_LEVEL``."""
    density = property_of("proton_density")
    t1_s = t1_with_gadolinium_s() if gadolinium else property_of("t1_s")
    # Both T1w scans share one scale, so that tissue without uptake keeps its intensity.
    white = mprage(property_of("t1_s")) * density
    signal = np.abs(mprage(t1_s) * density) * WHITE_LEVEL / white[ROW["white"]]
    return np.asarray(signal, dtype=np.float32)


def flair_signal() -> Float:
    """Return the FLAIR magnitude of each tissue, white matter at ``WHITE_LEVEL``."""
    signal = fluid_attenuated(property_of("t1_s"), property_of("t2_s"))
    # Fluid and what has a long T1 may still be inverted at TI: a magnitude image shows no sign.
    signal = np.abs(signal) * property_of("proton_density")
    return np.asarray(signal * WHITE_LEVEL / signal[ROW["white"]], dtype=np.float32)


def flair_scan(head: Head, pose: Affine, grid: Image) -> Image:
    """Sample FLAIR: a thick slice is the mean of isotropic thin ones, as a box profile makes it."""
    in_plane_mm, _, slice_mm = grid.grid.voxel_size_mm
    number = round(slice_mm / in_plane_mm)
    thin = finer(grid.affine, (1, 1, number))
    x, y, z = grid.shape
    image = structural_scan(head, pose, empty(thin, (x, y, number * z)), flair_signal())
    return grid.like(image.data.reshape(x, y, z, number).mean(axis=3))


def t1w_grid(voxel_mm: float) -> Image:
    """Return the grid of the T1w scans."""
    x, y, z = (round(length / voxel_mm) for length in T1W_FIELD_OF_VIEW_MM)
    size = (voxel_mm, voxel_mm, voxel_mm)
    return empty(scan_affine((x, y, z), size, flip_x=False, centre_mm=(0, -18, -4)), (x, y, z))


def flair_grid(voxel_mm: float, thickness: int, rotation: Affine) -> Image:
    """Return the grid of the FLAIR scan, its slices turned as the technician turned them."""
    size = (voxel_mm, voxel_mm, thickness * voxel_mm)
    lengths = zip(FLAIR_FIELD_OF_VIEW_MM, size, strict=True)
    x, y, z = (round(length / step) for length, step in lengths)
    return empty(scan_affine((x, y, z), size, rotation=rotation), (x, y, z))


def empty(affine: Affine, shape: tuple[int, int, int]) -> Image:
    """Return a grid without data of its own."""
    return Image(np.broadcast_to(np.zeros((), np.uint8), shape), affine)


def t1w_with_truth(head: Head, pose: Affine, grid: Image) -> tuple[Image, StructuralTruth]:
    """Sample T1w and everything that is true there, in one pass."""
    to_head = np.linalg.inv(pose) @ grid.affine
    image = np.zeros(grid.shape, np.float32)
    marks = {name: np.zeros(grid.shape, np.uint8) for name in MASKS}
    signal = t1w_signal(gadolinium=False)
    volumes: dict[str, float] = {}
    for chunk in compositions(head, to_head, grid.shape):
        image.reshape(-1)[chunk.flat] = signal @ chunk.fractions
        # Outside the dura there is signal but no truth.
        if chunk.inner is None:
            continue
        entries = {"tissue": _tissue(chunk), "deep": chunk.inner.labels(), **chunk.masks()}
        for name, mark in marks.items():
            mark.reshape(-1)[chunk.flat] = entries[name]
        for name, value in _volumes(chunk, chunk.inner).items():
            volumes[name] = volumes.get(name, 0.0) + value
    image *= _unevenness(head, to_head, grid.shape)
    truth = StructuralTruth(
        **{name: grid.like(data) for name, data in marks.items()}, volumes_voxels=volumes
    )
    return grid.like(image), truth


def _volumes(chunk: Chunk, inner: Inner) -> dict[str, float]:
    """Return the sums of fractions: tissues, and each deep structure."""
    groups = _groups(chunk).sum(axis=1, dtype=np.float64)
    sums = dict(zip(("csf", "gray_matter", "white_matter"), groups.tolist(), strict=True))
    deep = inner.deep.sum(axis=1, dtype=np.float64)
    return sums | dict(zip(DEEP_LABELS, deep.tolist(), strict=True))


def _groups(chunk: Chunk) -> Float:
    """Return the fractions of CSF, gray and white matter, shape (3, n)."""
    rows = (CSF_ROWS, GRAY_ROWS, WHITE_ROWS)
    return np.stack([chunk.fractions[list(group)].sum(axis=0) for group in rows])


def _tissue(chunk: Chunk) -> NDArray[np.uint8]:
    groups = _groups(chunk)
    # Of brain and fluid: a voxel that is mostly dura or bone is outside.
    return np.where(groups.sum(axis=0) > 0.5, groups.argmax(axis=0) + 1, 0).astype(np.uint8)
