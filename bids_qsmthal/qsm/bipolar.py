"""Bipolar readouts: odd and even echoes are read in opposite directions.

Delays and eddy currents of the readout gradient then add to the phase what changes its sign from
echo to echo and is linear along the readout: phi_j + (-1)^j beta(r). A monopolar scan has no such
part, so the data tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bids_qsmthal.qsm.measurement import block_factors
from bids_qsmthal.qsm.smooth import robust_polynomial, wrapped

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_qsmthal.core.grid import Array, Grid, Mask

LEAST_ECHOES = 3
MOST_LEFT = 0.7
"""A linear phase must explain so much of the alternation that no more than this share is left."""
LEAST_RAD = 0.02
"""A smaller alternation than this between odd and even echoes does no harm."""
SPACING_MM = 3.0
"""The phase is linear: voxels about this far apart are enough to find it."""


def corrected(
    magnitude: Array, phase_rad: Array, mask: Mask, grid: Grid, echo_times_s: tuple[float, ...]
) -> tuple[Array, float]:
    """Return the phase as of readouts in one direction and the largest change in rad.

    Parameters
    ----------
    magnitude, phase_rad
        Signal of each echo, shape (x, y, z, echo).
    mask
        Where there is signal.
    grid
        Sampling of the images.
    echo_times_s
        Three or more, evenly spaced; the phase is left as it is for others.

    Notes
    -----
    The alternation is known up to a quarter turn, which is a constant frequency and no matter.
    """
    beta = alternation(magnitude, phase_rad, mask, grid, echo_times_s)
    if beta is None:
        return phase_rad, 0.0
    signs = np.where(np.arange(len(echo_times_s)) % 2, -1, 1).astype(np.float32)
    return wrapped(phase_rad - beta[..., None] * signs), float(np.abs(beta[mask]).max())


def alternation(
    magnitude: Array, phase_rad: Array, mask: Mask, grid: Grid, echo_times_s: tuple[float, ...]
) -> Array | None:
    r"""Return beta(r) in rad, shape (x, y, z), or none where readouts do not alternate.

    .. math:: (-1)^j (\phi_{j-1} - 2 \phi_j + \phi_{j+1}) = -4 \beta

    for evenly spaced echoes, whatever the field and the phase at time zero.
    """
    gaps = np.diff(echo_times_s)
    if len(echo_times_s) < LEAST_ECHOES or np.ptp(gaps) > 0.02 * gaps.mean():
        return None
    strides = block_factors(grid, SPACING_MM)
    thin = tuple(slice(None, None, stride) for stride in strides)
    inside = mask[thin] & (magnitude[thin] > 0).all(axis=-1)
    if inside.sum() < 1000:
        return None
    turning = _turning(magnitude[thin], phase_rad[thin])
    angle = np.angle(turning).astype(np.float32)
    line = robust_polynomial(angle, np.abs(turning[inside]), inside, 1)
    before = float(np.median(np.abs(angle[inside])))
    after = float(np.median(np.abs(wrapped(angle - line)[inside])))
    if after > MOST_LEFT * before or np.abs(line[inside]).max() < 4 * LEAST_RAD:
        return None
    return _stretched(line, strides, grid.shape) / np.float32(4)


def _turning(magnitude: Array, phase_rad: Array) -> NDArray[np.complex64]:
    """Return the magnitude-weighted mean of exp(4 i beta) over the triples of echoes."""
    total: NDArray[np.complex64] = np.zeros(magnitude.shape[:-1], np.complex64)
    for j in range(1, magnitude.shape[-1] - 1):
        bend = phase_rad[..., j - 1] - 2 * phase_rad[..., j] + phase_rad[..., j + 1]
        weight = magnitude[..., j - 1] * magnitude[..., j + 1]
        total += weight * np.exp((1j if j % 2 else -1j) * bend)
    return total


def _stretched(line: Array, strides: tuple[int, int, int], shape: tuple[int, int, int]) -> Array:
    """Return a linear function on every voxel from its values on every stride-th."""
    out = np.full(shape, line[0, 0, 0], np.float32)
    for axis, (stride, n) in enumerate(zip(strides, shape, strict=True)):
        if line.shape[axis] > 1:
            slope = (np.take(line, 1, axis) - np.take(line, 0, axis)).flat[0] / stride
            along = [1, 1, 1]
            along[axis] = n
            out += (slope * np.arange(n, dtype=np.float32)).reshape(along)
    return out
