"""MP2RAGE: the uniform image without the noise that its division makes of air."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bids_qsmthal.core.errors import DataError

if TYPE_CHECKING:
    from bids_qsmthal.core.grid import Array
    from bids_qsmthal.core.image import Image

STEPS = 4095.0
"""Scanners store the ratio -1/2..1/2 as 0..4095."""

NOISE_FACTOR = 6.0
"""The regulariser is the square of so many times the noise of air. O'Brien et al. leave it to the
eye; at 6 air is dark and tissue of a signal-to-noise ratio of 50 loses under 5 %."""


def without_noise(uniform: Image, first: Image, second: Image) -> Image:
    r"""Return the uniform image with dark air, 0 to 4095.

    .. math:: (S_1 S_2 - \beta) / (S_1^2 + S_2^2 + 2 \beta)

    Both inversions are magnitudes; the sign of :math:`S_1 S_2` is that of the uniform image.

    Parameters
    ----------
    uniform
        :math:`S_1 S_2 / (S_1^2 + S_2^2)`, as a ratio (-1/2 to 1/2) or as stored (0 to 4095).
    first, second
        Magnitude after the first and after the second inversion time, on the same grid.

    Raises
    ------
    DataError
        Grids differ, or the values are none of a uniform image.

    References
    ----------
    O'Brien et al. (2014). PLoS ONE 9(6), e99676. doi:10.1371/journal.pone.0099676
    """
    for image in (first, second):
        if image.shape != uniform.shape or not np.allclose(image.affine, uniform.affine, atol=0.01):
            raise DataError(
                "The inversion images of MP2RAGE are on a different grid from the uniform image "
                "(UNIT1); give those of the same scan, or leave them out."
            )
    energy = first.data**2 + second.data**2
    beta = (NOISE_FACTOR * _noise(second.data)) ** 2
    numerator = _ratio(uniform.data) * energy - beta
    # Where both are zero nothing was measured: it is air.
    ratio = np.divide(
        numerator, energy + 2 * beta, out=np.full_like(energy, -0.5), where=energy + 2 * beta > 0
    )
    return uniform.like((STEPS * (ratio + 0.5)).astype(np.float32))


def _ratio(stored: Array) -> Array:
    low, high = float(stored.min()), float(stored.max())
    # Rounding of a ratio may pass its bounds by a little.
    if low >= -0.51 and high <= 0.51:
        return stored
    if low >= 0 and high <= STEPS + 1:
        return stored / np.float32(STEPS) - np.float32(0.5)
    raise DataError(
        f"The uniform image of MP2RAGE (UNIT1) has values from {low:g} to {high:g}; expected -0.5 "
        "to 0.5 or 0 to 4095: export it again, or give a T1w."
    )


def _noise(magnitude: Array) -> float:
    """Return the mean in the eight corners, where a head never is; 0 where they are blank."""
    ends = [(slice(0, max(1, n // 10)), slice(n - max(1, n // 10), n)) for n in magnitude.shape]
    corners = [magnitude[x, y, z].ravel() for x in ends[0] for y in ends[1] for z in ends[2]]
    values = np.concatenate(corners)
    # Masked voxels say nothing about noise.
    return float(values[values > 0].mean()) if (values > 0).any() else 0.0
