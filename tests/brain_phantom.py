"""A plain head on any grid, its preparation without network and registration, and its files."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from bids_qsmthal.anatomy import Prepared, Rigid
from bids_qsmthal.anatomy.warping import Warp
from bids_qsmthal.core.image import Image
from tests.conftest import write_json

SHAPE, VOXEL_MM = (62, 76, 58), 2.5
RADII_MM = (62.0, 78.0, 58.0)
THALAMI = {10: (-13.0, -8.0, -4.0), 49: (13.0, -8.0, -4.0)}
VENTRICLES = {4: (-9.0, 6.0, 14.0), 43: (9.0, 6.0, 14.0)}
LESION_MM = (32.0, 12.0, 12.0)
CSF, GM, WM, THALAMUS = 30.0, 70.0, 110.0, 85.0


def grid() -> Image:
    affine = np.diag([VOXEL_MM, VOXEL_MM, VOXEL_MM, 1.0])
    affine[:3, 3] = -VOXEL_MM * (np.array(SHAPE) - 1) / 2
    return Image(np.zeros(SHAPE, np.uint8), affine)


def world(image: Image) -> np.ndarray:
    index = np.indices(image.shape).reshape(3, -1)
    points = image.affine[:3, :3] @ index + image.affine[:3, 3:]
    return points.reshape(3, *image.shape)


def ellipsoid(points: np.ndarray, centre: tuple[float, ...], radii: tuple[float, ...]):
    parts = (points[axis] - centre[axis] for axis in range(3))
    return sum((part / radius) ** 2 for part, radius in zip(parts, radii, strict=True)) <= 1


def depth(points: np.ndarray) -> np.ndarray:
    """1 on the surface of the brain, 0 in its middle."""
    return np.sqrt(sum((points[axis] / RADII_MM[axis]) ** 2 for axis in range(3)))


def labels(image: Image) -> Image:
    """FreeSurfer's numbers of the thalami and the lateral ventricles."""
    points, found = world(image), np.zeros(image.shape, np.uint8)
    for index, centre in VENTRICLES.items():
        found[ellipsoid(points, centre, (6.0, 22.0, 8.0))] = index
    for index, centre in THALAMI.items():
        found[ellipsoid(points, centre, (9.0, 13.0, 9.0))] = index
    return image.like(found)


def brain(image: Image) -> Image:
    return image.like(depth(world(image)) <= 1)


def tissue(image: Image) -> Image:
    """1 gray matter, 2 white matter, 3 fluid; thalami are gray."""
    shell, inside = depth(world(image)), labels(image).data
    found = np.select([shell > 1, shell > 0.94, shell > 0.90], [0, 3, 1], 2)
    found[np.isin(inside, list(VENTRICLES))] = 3
    found[np.isin(inside, list(THALAMI))] = 1
    return image.like(found.astype(np.uint8))


def t1w(image: Image, *, seed: int = 1) -> Image:
    kinds = tissue(image).data
    signal = np.choose(kinds, (0, GM, WM, CSF)).astype(np.float32)
    signal[np.isin(labels(image).data, list(THALAMI))] = THALAMUS
    noise = np.random.default_rng(seed).normal(0, 3, image.shape)
    return image.like(np.maximum(signal + noise * (kinds > 0), 0).astype(np.float32))


def flair(image: Image) -> Image:
    """White matter 100 with one lesion of 160."""
    kinds = tissue(image).data
    signal = np.choose(kinds, (0, 110, 100, 20)).astype(np.float32)
    signal[ellipsoid(world(image), LESION_MM, (7.0, 7.0, 7.0))] = 160
    noise = np.random.default_rng(2).normal(0, 3, image.shape)
    return image.like(np.maximum(signal + noise * (kinds > 0), 0).astype(np.float32))


def prepare(image: Image, *, settings: object, brain: Image | None, seed: int) -> Prepared:
    """Take the place of ``anatomy.prepare``: what it would find, without looking."""
    del settings, seed
    points, found, kinds = world(image), labels(image), tissue(image).data
    left = points[0] < 0
    outline = image.like(depth(points) <= 1) if brain is None else brain
    priors = [image.like((0.05 + 0.9 * (kinds == kind)).astype(np.float32)) for kind in (1, 2, 3)]
    thalami = tuple(image.like((found.data == index).astype(np.float32)) for index in THALAMI)
    behind = found.data * (points[1] < -5)
    return Prepared(
        t1w=image,
        brain=outline,
        prior_gm=priors[0],
        prior_wm=priors[1],
        prior_csf=priors[2],
        labels=found,
        regions=image.like(np.where(outline.data, np.where(left, 1, 2), 0).astype(np.uint8)),
        thalamus_prior=(thalami[0], thalami[1]),
        nuclei=image.like(np.select([found.data == 10, found.data == 49], [1, 21]).astype("u1")),
        subcortex=image.like(np.zeros(image.shape, np.uint8)),
        atria=image.like(np.select([behind == 4, behind == 43], [1, 2]).astype("u1")),
        vein_prior=image.like(np.zeros(image.shape, np.float32)),
        to_template=Warp(np.eye(4), ()),
        quality={},
        warnings=(),
    )


def rigid_brains(
    fixed: Image,
    moving: Image,
    fixed_brain: Image,
    *,
    seed: int,
    uneven: bool = False,  # noqa: ARG001 - as the original
) -> Rigid:
    """Take the place of ``anatomy.rigid_brains``: the scans share one world."""
    del fixed, moving, fixed_brain, seed
    return Rigid(np.eye(4), {"overlap": 1.0})


def write(path: Path, image: Image, dtype: str = "i2") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    saved = nib.MGHImage if path.suffix == ".mgz" else nib.Nifti1Image
    nib.save(saved(np.asarray(image.data).astype(dtype), image.affine), path)
    return path


def write_dataset(root: Path) -> Path:
    """Write T1w and FLAIR of one participant and return the dataset's folder."""
    bids = root / "bids"
    write_json(bids / "dataset_description.json", {"Name": "plain", "BIDSVersion": "1.10.0"})
    write(bids / "sub-01" / "anat" / "sub-01_T1w.nii.gz", t1w(grid()), "f4")
    write(bids / "sub-01" / "anat" / "sub-01_FLAIR.nii.gz", flair(grid()), "f4")
    return bids


def conformed() -> Image:
    """The grid of FreeSurfer's images: 1 mm, axes L, I, A; cut to what a test needs."""
    affine = np.array([[-1.0, 0, 0, 79], [0, 0, 1, -95], [0, -1, 0, 74], [0, 0, 0, 1]])
    return Image(np.zeros((160, 150, 190), np.uint8), affine)


def aseg(image: Image) -> Image:
    """Labels as FreeSurfer numbers them."""
    kinds, inside = tissue(image).data, labels(image).data
    left = world(image)[0] < 0
    found = np.select(
        [inside > 0, (kinds == 1) & left, kinds == 1, (kinds == 2) & left, kinds == 2],
        [inside.astype(np.int64), 3, 42, 2, 41],
    )
    return image.like(found.astype(np.int32))
