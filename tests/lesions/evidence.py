"""White matter with noise and bright parts, as the later steps of the segmentation see it."""

import numpy as np

from bids_qsmthal.core.crop import Crop
from bids_qsmthal.lesions.context import BrainBox
from bids_qsmthal.lesions.evidence import Evidence

SIZE_MM = (1.0, 1.2, 2.0)
SHAPE = (60, 50, 40)
BOX = BrainBox(Crop((0, 0, 0), (60, 50, 40), SHAPE), SIZE_MM)
NOWHERE = np.zeros(SHAPE, bool)


def block(centre, voxels) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[tuple(slice(c - n // 2, c - n // 2 + n) for c, n in zip(centre, voxels, strict=True))] = (
        True
    )
    return mask


def evidence_of(*bright: np.ndarray, height: float = 30.0, gray: np.ndarray = NOWHERE) -> Evidence:
    """White matter with noise of 3 and bright parts; gray matter may be expected somewhere."""
    rng = np.random.default_rng(3)
    excess = (3 * rng.standard_normal(SHAPE)).astype(np.float32)
    for part in bright:
        excess[part] += height
    everywhere = np.ones(SHAPE, bool)
    return Evidence(
        log_odds=np.zeros(SHAPE, np.float32),
        excess=excess,
        noise=3.0,
        smallest_peak=20.0,
        allowed=everywhere,
        fluid=NOWHERE,
        brain=everywhere,
        ventricle=NOWHERE,
        floor=NOWHERE,
        white=everywhere,
        mostly_white=~gray,
        quality={},
        warnings=(),
    )
