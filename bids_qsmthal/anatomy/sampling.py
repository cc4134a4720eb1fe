"""Images with cubic voxels."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from bids_qsmthal.core.affine import rescaled, starting_at, voxel_sizes_mm, with_origin
from bids_qsmthal.core.image import Image
from bids_qsmthal.core.interpolation import linear


def isotropic(image: Image, size_mm: float) -> Image:
    """Sample an image at cubic voxels, averaging over the larger ones."""
    factor = size_mm / voxel_sizes_mm(image.affine)
    # Within 2 per cent interpolation would blur more than the grids differ.
    if np.allclose(factor, 1, atol=0.02):
        return image
    # A Gaussian whose width makes a new voxel the average of what it covers.
    sigma = np.sqrt(np.maximum(factor**2 - 1, 0) / 12)
    smooth = ndimage.gaussian_filter(image.data.astype(np.float32), sigma)
    shape = tuple(int(n) for n in np.ceil(np.array(image.shape) / factor))
    # The corner of the grid stays, not its first centre: both grids cover the same box.
    offset = 0.5 * factor - 0.5
    data = linear(smooth, with_origin(np.diag([*factor, 1.0]), offset), shape)
    return Image(data, rescaled(starting_at(image.affine, offset), factor))
