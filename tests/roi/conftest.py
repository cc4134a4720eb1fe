"""A small head of known susceptibility on an oblique, thick-sliced GRE grid."""

from dataclasses import dataclass

import numpy as np
import pytest

from bids_qsmthal import roi
from bids_qsmthal.core.image import Image

CHI_PPM = {"csf": 0.0, "tissue": -0.030, "thalamus": -0.010, "pallidum": 0.120, "vein": 0.300}
R2STAR_HZ = {"csf": 2.0, "tissue": 18.0, "thalamus": 19.0, "pallidum": 40.0, "vein": 32.0}


def rotation(degrees_x, degrees_z=0.0):
    """Rotation about x, then z, as a 4x4 matrix."""
    matrix = np.eye(4)
    x, z = np.deg2rad((degrees_x, degrees_z))
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    matrix[:3, :3] = about_z @ about_x
    return matrix


def centred(shape, voxel_size_mm, turn=None):
    """Affine whose middle voxel is the origin of the world."""
    affine = np.diag([*voxel_size_mm, 1.0])
    affine[:3, 3] = -0.5 * (np.array(shape) - 1) * voxel_size_mm
    return affine if turn is None else turn @ affine


def points(shape, affine):
    """World coordinates of every voxel, three arrays."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    world = index @ affine[:3, :3].T + affine[:3, 3]
    return np.moveaxis(world, -1, 0)


def anatomy(x, y, z):
    """Labels (FreeSurfer's indices; 900 vein) at points of the T1w world."""
    labels = np.zeros(x.shape, dtype=np.int32)
    for side, thalamus, ventricle, pallidum in ((-1, 10, 4, 13), (1, 49, 43, 52)):
        out = side * x
        labels[((out - 10) / 8) ** 2 + (y / 13) ** 2 + (z / 9) ** 2 < 1] = thalamus
        labels[((out - 26) / 5) ** 2 + ((y - 6) / 8) ** 2 + (z / 6) ** 2 < 1] = pallidum
        # The ventricle runs above the thalamus to a wide atrium behind it.
        body = (np.abs(out - 8) < 4) & (np.abs(z - 14) < 3) & (np.abs(y + 2) < 20)
        atrium = ((out - 12) / 7) ** 2 + ((y + 26) / 8) ** 2 + ((z - 6) / 9) ** 2 < 1
        labels[body | atrium] = ventricle
        # A vein enters the thalamus from its medial border.
        labels[(out > 1) & (out < 9) & (np.hypot(y + 3, z - 2) < 1.0)] = 900
    return labels


@dataclass(frozen=True, eq=False)
class Head:
    """Maps on the GRE grid and labels on the T1w grid, with the truth between them."""

    chi_ppm: Image
    r2star_hz: Image
    magnitude: Image
    mask: Image
    deepgray: Image
    atria: Image
    gre_to_t1w: np.ndarray
    vein_share: np.ndarray

    def inputs(self, **changed):
        """Inputs as the participant's story would give them."""
        known = roi.Segmentation(
            deepgray=self.deepgray, gre_to_t1w=self.gre_to_t1w, atria=self.atria
        )
        values = {
            "chi_ppm": self.chi_ppm,
            "magnitude": self.magnitude,
            "qsm_mask": self.mask,
            "r2star_hz": self.r2star_hz,
            "segmentation": known,
        }
        return roi.Inputs(**(values | changed))


def make_head(voxel_size_mm=(1.0, 1.0, 2.5), shape=(80, 92, 26), noise_ppm=0.004, seed=3):
    """Draw a head; its GRE voxels are means over a fine lattice of the same anatomy."""
    rng = np.random.default_rng(seed)
    gre_affine = centred(shape, voxel_size_mm, rotation(12.0))
    gre_to_t1w = rotation(3.0, -2.0)
    gre_to_t1w[:3, 3] = (1.5, -2.0, 1.0)
    fine = (2, 2, 5)
    fine_shape = tuple(n * f for n, f in zip(shape, fine, strict=True))
    step = np.diag([*(1 / np.array(fine)), 1.0])
    step[:3, 3] = (1 / np.array(fine) - 1) / 2
    labels = anatomy(*points(fine_shape, gre_to_t1w @ gre_affine @ step))
    kind = np.full(labels.shape, "tissue", dtype="U8")
    for name, indices in (
        ("csf", (4, 43)),
        ("thalamus", (10, 49)),
        ("pallidum", (13, 52)),
        ("vein", (900,)),
    ):
        kind[np.isin(labels, indices)] = name
    blocks = [n for pair in zip(shape, fine, strict=True) for n in pair]

    def coarse(values):
        mean = np.asarray(values, dtype=np.float32).reshape(blocks).mean(axis=(1, 3, 5))
        return mean.astype(np.float32)

    def painted(values):
        names, where = np.unique(kind, return_inverse=True)
        return coarse(np.array([values[str(name)] for name in names])[where.reshape(kind.shape)])

    chi = painted(CHI_PPM) + rng.normal(0, noise_ppm, shape).astype(np.float32)
    r2star = painted(R2STAR_HZ) + rng.normal(0, 1.0, shape).astype(np.float32)
    magnitude = 100 * np.exp(-0.02 * r2star) + rng.normal(0, 0.5, shape).astype(np.float32)
    image = Image(chi, gre_affine)
    t1w_shape = (86, 86, 70)
    t1w_affine = centred(t1w_shape, (1.0, 1.0, 1.0))
    x, y, z = points(t1w_shape, t1w_affine)
    whole = anatomy(x, y, z)
    # A T1w segmentation does not see the vein: it calls it thalamus.
    whole = np.where(whole == 900, np.where(x < 0, 10, 49), whole)
    whole = np.where((np.abs(x) < 2.2) & (whole > 0), 0, whole)
    atria = np.where(np.isin(whole, (4, 43)) & (y < -18), np.where(x < 0, 1, 2), 0)
    return Head(
        chi_ppm=image,
        r2star_hz=image.like(np.maximum(r2star, 0)),
        magnitude=image.like(magnitude.astype(np.float32)),
        mask=image.like(np.ones(shape, dtype=bool)),
        deepgray=Image(whole.astype(np.int32), t1w_affine),
        atria=Image(atria.astype(np.uint8), t1w_affine),
        gre_to_t1w=gre_to_t1w,
        vein_share=coarse(kind == "vein"),
    )


@pytest.fixture(scope="session")
def head_of():
    return make_head


@pytest.fixture(scope="session")
def head():
    return make_head()
