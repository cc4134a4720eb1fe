"""A head of balls: CSF outside, cortex, white matter, a ventricle with plexus, lesions."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import ndimage

from bids_qsmthal.core.image import Image
from bids_qsmthal.lesions import Context, Lesions, segment_flair

GM, WM, CSF = 0, 1, 2
T1W = np.array([65.0, 100.0, 25.0])
FLAIR = np.array([115.0, 100.0, 25.0])
AFFINE = np.array([[-1.5, 0, 0, 60], [0, 1.5, 0, -62], [0, 0, 1.5, -55], [0, 0, 0, 1.0]])
SHAPE = (80, 84, 76)


@dataclass
class Head:
    """Images of one head and what is true."""

    t1w: Image
    flair: Image
    context: Context
    lesions: np.ndarray
    plexus: np.ndarray

    @property
    def t1w_image(self) -> Image:
        return self.t1w


def radius_mm(centre=(0.0, 0.0, 0.0)) -> np.ndarray:
    voxels = np.moveaxis(np.indices(SHAPE), 0, -1)
    points = voxels @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    return np.linalg.norm(points - centre, axis=-1)


LESIONS = (((22.0, 10.0, 12.0), 5.0), ((-24.0, -14.0, 6.0), 4.0), ((12.5, 0.0, 0.0), 4.0))


def make_head(*, with_lesions: bool = True, noise: float = 3.0, seed: int = 1) -> Head:
    """Return the head; one lesion touches the ventricle, the plexus lies in it."""
    rng = np.random.default_rng(seed)
    head = radius_mm()
    tissue = np.full(SHAPE, CSF)
    tissue[head < 46] = GM
    tissue[head < 40] = WM
    ventricle = head < 10
    tissue[ventricle] = CSF
    lesions = np.zeros(SHAPE, bool)
    for centre, size_mm in LESIONS if with_lesions else ():
        lesions |= (radius_mm(centre) < size_mm) & (tissue == WM)
    plexus = radius_mm((0.0, -3.0, 0.0)) < 4
    t1w, flair = T1W[tissue], FLAIR[tissue]
    t1w[lesions], flair[lesions] = 70.0, 170.0
    t1w[plexus], flair[plexus] = 65.0, 170.0
    brain = head < 50
    priors = [ndimage.gaussian_filter((tissue == k).astype(np.float32), 1.0) for k in (GM, WM, CSF)]
    labels = np.where(ventricle, 4, 0).astype(np.int16)

    def image(data: np.ndarray) -> Image:
        return Image(np.ascontiguousarray(data), AFFINE)

    def scan(data: np.ndarray) -> Image:
        seen = ndimage.gaussian_filter(data, 0.4) + noise * rng.standard_normal(SHAPE)
        return image((np.maximum(seen, 0.1) * (head < 54)).astype(np.float32))

    context = Context(
        brain=image(brain),
        prior_gm=image(priors[GM]),
        prior_wm=image(priors[WM]),
        prior_csf=image(priors[CSF]),
        labels=image(labels),
    )
    return Head(scan(t1w), scan(flair), context, lesions, plexus)


@pytest.fixture(scope="session")
def head() -> Head:
    return make_head()


@pytest.fixture(scope="session")
def healthy_head() -> Head:
    return make_head(with_lesions=False, seed=2)


@pytest.fixture(scope="session")
def found(head) -> Lesions:
    return segment_flair(head.flair, head.t1w, head.context)


@pytest.fixture
def dice():
    return lambda a, b: 2 * np.sum(a & b) / (np.sum(a) + np.sum(b))
