"""Averages over neighbours that are wider than a kernel is cheap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def blurred_widely(
    data: NDArray[Any], sigma_voxels: Sequence[float], *, mode: str = "reflect"
) -> NDArray[np.float32]:
    """Convolve with three boxes: near a Gaussian, at a cost that its width does not change.

    The variance of three boxes of n voxels is (n^2 - 1) / 4.

    Parameters
    ----------
    data
        Shape (x, y, z).
    sigma_voxels
        Standard deviation along each axis.
    mode
        What lies beyond the array, as ``scipy.ndimage`` calls it.
    """
    widths = [2 * round((np.sqrt(4 * sigma**2 + 1) - 1) / 2) + 1 for sigma in sigma_voxels]
    blurred: NDArray[np.float32] = data.astype(np.float32)
    for _ in range(3):
        blurred = ndimage.uniform_filter(blurred, widths, mode=mode)
    return blurred
