"""Lesions filled with what white matter looks like, so that they do not become gray matter."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.core import robust

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]


NEAR_MM = 4.0
"""Standard deviation of the weights of white matter round a lesion: more than a gyrus's blade of
white matter, less than the gain of a coil changes over."""


def filled_lesions(
    t1w: Float,
    lesions: Mask,
    white_prior: Float,
    voxel_mm: tuple[float, float, float],
    *,
    seed: int,
) -> Float:
    """Give lesions the intensity of the white matter round them, with its noise.

    Parameters
    ----------
    t1w
        Even intensities, shape (x, y, z).
    lesions
        What to fill.
    white_prior
        Probability of white matter from the template.
    voxel_mm
        Size of the voxels.
    seed
        Of the noise.
    """
    if not lesions.any():
        return t1w
    # One voxel round a lesion is partly lesion: it would make the filling darker.
    rim = ndimage.binary_dilation(lesions)
    sure = (white_prior > 0.8) & ~rim
    middle = float(np.median(t1w[sure]))
    spread = robust.spread(t1w[sure], middle)
    # Normal-appearing white matter only: other lesions and vessels stay out of the mean.
    sure &= np.abs(t1w - middle) < 2.5 * spread
    # Normalised convolution: the mean over sure voxels near by, as if the others were not there.
    sigma = [NEAR_MM / size for size in voxel_mm]
    weight = ndimage.gaussian_filter(sure.astype(np.float32), sigma)
    total = ndimage.gaussian_filter(np.where(sure, t1w, 0).astype(np.float32), sigma)
    local = np.where(weight > 1e-3, total / np.maximum(weight, 1e-3), middle)
    # Without noise the filled voxels would narrow the spread that is then fitted to white matter.
    noise = np.random.default_rng(seed).normal(0, spread, int(lesions.sum()))
    filled = t1w.copy()
    filled[lesions] = local[lesions] + noise
    return filled
