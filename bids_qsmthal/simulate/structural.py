"""T1w before and after gadolinium, and FLAIR, with the truth on the T1w grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from bids_qsmthal.image import Affine, Image
from bids_qsmthal.simulate.compositions import DEEP_LABELS, compositions, sampled
from bids_qsmthal.simulate.poses import scan_affine
from bids_qsmthal.simulate.signals import fluid_attenuated, mprage
from bids_qsmthal.simulate.tissues import ROW, property_of, t1_with_gadolinium_s

if TYPE_CHECKING:
    from bids_qsmthal.simulate.compositions import Chunk, Inner
    from bids_qsmthal.simulate.heads import Head

Float = NDArray[np.float32]

T1W_SHAPE: Final = (172, 216, 196)
T1W_VOXEL_MM: Final = (1.0, 1.0, 1.0)
FLAIR_SHAPE: Final = (180, 216, 54)
FLAIR_VOXEL_MM: Final = (1.0, 1.0, 3.0)
WHITE_LEVEL: Final = 110.0
"""White matter in stored units."""

GRAY_ROWS: Final = tuple(
    ROW[name]
    for name in (
        "gray",
        "thalamus",
        "thalamus_lateral",
        "caudate",
        "putamen",
        "pallidum",
        "hippocampus",
        "amygdala",
    )
)
WHITE_ROWS: Final = tuple(
    ROW[name]
    for name in (
        "white",
        "brainstem",
        "rednucleus",
        "substantianigra",
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
    volumes_mm3
        Sums of shares: partial voxels count by what they hold.
    """

    tissue: Image
    deep: Image
    lesion: Image
    enhancing: Image
    ventricle: Image
    atria: Image
    plexus: Image
    volumes_mm3: dict[str, float]


def structural_scan(
    head: Head, pose: Affine, affine: Affine, shape: tuple[int, int, int], signal: Float
) -> Image:
    """Sample a contrast on a grid.

    Parameters
    ----------
    head, pose
        The participant, and head to world of the scan.
    affine, shape
        The grid; voxel to world.
    signal
        Signal of each tissue.
    """
    to_head = np.linalg.inv(pose) @ affine
    image = np.zeros(shape, np.float32)
    for chunk in compositions(head, to_head, shape):
        image.reshape(-1)[chunk.flat] = signal @ chunk.shares
    texture = sampled(head.texture, to_head, shape)
    image *= 1 + np.float32(0.015) * texture
    return Image(image, affine)


def t1w_signal(*, gadolinium: bool) -> Float:
    """Return the MPRAGE magnitude of each tissue, white matter at ``WHITE_LEVEL``."""
    density = property_of("proton_density")
    t1_s = t1_with_gadolinium_s() if gadolinium else property_of("t1_s")
    white = mprage(property_of("t1_s")) * density
    signal = np.abs(mprage(t1_s) * density) * WHITE_LEVEL / white[ROW["white"]]
    return np.asarray(signal, dtype=np.float32)


def flair_signal() -> Float:
    """Return the FLAIR magnitude of each tissue, white matter at ``WHITE_LEVEL``."""
    signal = fluid_attenuated(property_of("t1_s"), property_of("t2_s"))
    signal = np.abs(signal) * property_of("proton_density")
    return np.asarray(signal * WHITE_LEVEL / signal[ROW["white"]], dtype=np.float32)


def flair_scan(head: Head, pose: Affine, affine: Affine) -> Image:
    """Sample FLAIR: each 3 mm slice is the mean of three thin ones, as a box profile makes it."""
    thin = affine.copy()
    thin[:3, 2] /= 3
    thin[:3, 3] -= thin[:3, 2]
    x, y, z = FLAIR_SHAPE
    image = structural_scan(head, pose, thin, (x, y, 3 * z), flair_signal())
    return Image(image.data.reshape(x, y, z, 3).mean(axis=3), affine)


def t1w_grid() -> Affine:
    """Return voxel to world of the T1w scans."""
    return scan_affine(T1W_SHAPE, T1W_VOXEL_MM, flip_x=False, centre_mm=(0, -18, -4))


def flair_grid(rotation: Affine) -> Affine:
    """Return voxel to world of the FLAIR scan, its slices turned as the technician turned them."""
    return scan_affine(FLAIR_SHAPE, FLAIR_VOXEL_MM, rotation=rotation)


def t1w_with_truth(head: Head, pose: Affine) -> tuple[Image, StructuralTruth]:
    """Sample T1w and everything that is true there, in one pass."""
    affine = t1w_grid()
    to_head = np.linalg.inv(pose) @ affine
    image = np.zeros(T1W_SHAPE, np.float32)
    marks = {name: np.zeros(T1W_SHAPE, np.uint8) for name in MASKS}
    signal = t1w_signal(gadolinium=False)
    volumes: dict[str, float] = {}
    for chunk in compositions(head, to_head, T1W_SHAPE):
        image.reshape(-1)[chunk.flat] = signal @ chunk.shares
        if chunk.inner is None:
            continue
        entries = {"tissue": _tissue(chunk), "deep": chunk.inner.labels(), **chunk.masks()}
        for name, values in entries.items():
            marks[name].reshape(-1)[chunk.flat] = values
        for name, value in _volumes(chunk, chunk.inner).items():
            volumes[name] = volumes.get(name, 0.0) + value
    image *= 1 + np.float32(0.015) * sampled(head.texture, to_head, T1W_SHAPE)
    truth = StructuralTruth(
        **{name: Image(data, affine) for name, data in marks.items()}, volumes_mm3=volumes
    )
    return Image(image, affine), truth


def _volumes(chunk: Chunk, inner: Inner) -> dict[str, float]:
    """Return the sums of shares: tissues, and each deep structure."""
    groups = _groups(chunk).sum(axis=1, dtype=np.float64)
    sums = dict(zip(("csf", "gray_matter", "white_matter"), groups.tolist(), strict=True))
    deep = inner.deep.sum(axis=1, dtype=np.float64)
    return sums | dict(zip(DEEP_LABELS, deep.tolist(), strict=True))


def _groups(chunk: Chunk) -> Float:
    """Return the shares of CSF, gray and white matter, shape (3, n)."""
    rows = (CSF_ROWS, GRAY_ROWS, WHITE_ROWS)
    return np.stack([chunk.shares[list(group)].sum(axis=0) for group in rows])


def _tissue(chunk: Chunk) -> NDArray[np.uint8]:
    groups = _groups(chunk)
    return np.where(groups.sum(axis=0) > 0.5, groups.argmax(axis=0) + 1, 0).astype(np.uint8)
