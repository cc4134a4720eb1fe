"""Bipolar readouts: odd and even echoes are read in opposite directions.

Delays and eddy currents of the readout gradient then add to the phase what changes its sign from
echo to echo and is smooth, mostly linear along the readout: phi_j + (-1)^j beta(r). A monopolar
scan has no such part, so three echoes tell. Two do not: there beta looks like a field, of which a
linear one is a background that later steps take out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bids_qsmthal.qsm import echo_constants
from bids_qsmthal.qsm.measurement import block_factors, coarser_grid
from bids_qsmthal.qsm.smooth import robust_polynomial, wrapped

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_qsmthal.core.grid import Array, Grid, Mask

LEAST_ECHOES = 3
MOST_LEFT = 0.7
"""A smooth phase must explain so much of the alternation that no more than this share is left."""
LEAST_RAD = 0.02
"""A smaller alternation than this between odd and even echoes does no harm."""
SPACING_MM = 3.0
"""The phase is smooth: voxels about this far apart are enough to find it."""
ORDER = 2
"""Linear by delays, quadratic by concomitant fields, whose terms grow with the square of the
distance."""
REST_ORDER = 4
"""Total degree up to which what is left is measured."""
FEWEST = 1000
EVEN = 0.02
"""Relative spread of the spacings up to which echoes count as evenly spaced."""


class Readouts(NamedTuple):
    """What the echoes say of the direction of their readouts.

    Attributes
    ----------
    beta_rad
        Half of what odd and even echoes differ by, shape (x, y, z); ``None`` where they do not.
    left_rad
        Root mean square of the smooth alternation that is left, None where it is not known.
    """

    beta_rad: Array | None
    left_rad: float | None


def corrected(
    magnitude: Array, phase_rad: Array, mask: Mask, grid: Grid, echo_times_s: tuple[float, ...]
) -> tuple[Array, float, float | None]:
    """Return the phase as of readouts in one direction, the largest change, and what is left, rad.

    Parameters
    ----------
    magnitude, phase_rad
        Signal of each echo, shape (x, y, z, echo).
    mask
        Where there is signal.
    grid
        Sampling of the images.
    echo_times_s
        Three or more; the phase is left as it is for others.

    Notes
    -----
    The alternation of evenly spaced echoes is known up to a quarter turn, which is a constant
    frequency and no matter; that of uneven ones up to a constant in each echo, which
    ``echo_constants`` takes out.
    """
    found = readouts(magnitude, phase_rad, mask, grid, echo_times_s)
    beta = found.beta_rad
    if beta is None:
        return phase_rad, 0.0, found.left_rad
    # The first echo has the sign +: which of the directions is called right is a matter of the
    # phase at time zero and does not touch the field.
    signs = np.where(np.arange(len(echo_times_s)) % 2, -1, 1).astype(np.float32)
    change = wrapped(phase_rad - beta[..., None] * signs)
    return change, float(np.abs(beta[mask]).max()), found.left_rad


def readouts(
    magnitude: Array, phase_rad: Array, mask: Mask, grid: Grid, echo_times_s: tuple[float, ...]
) -> Readouts:
    r"""Return beta(r), where readouts alternate, and how much of it no polynomial explains.

    .. math:: (-1)^j (\phi_{j-1} - 2 \phi_j + \phi_{j+1}) = -4 \beta

    for evenly spaced echoes, whatever the field and the phase at time zero. For others the third
    echo is compared with the line through the first two.
    """
    strides = block_factors(grid, SPACING_MM)
    thin = tuple(slice(None, None, stride) for stride in strides)
    inside = mask[thin] & (magnitude[thin] > 0).all(axis=-1)
    if len(echo_times_s) < LEAST_ECHOES or inside.sum() < FEWEST:
        return Readouts(None, None)
    small = coarser_grid(grid, strides)
    turning, times_beta = _alternation(
        magnitude[thin], phase_rad[thin], inside, small, echo_times_s
    )
    angle, energy = np.angle(turning).astype(np.float32), np.abs(turning[inside])
    smooth = robust_polynomial(angle, energy, inside, ORDER)
    before = float(np.median(np.abs(angle[inside])))
    after = float(np.median(np.abs(wrapped(angle - smooth)[inside])))
    # In a monopolar scan noise is all there is, and a polynomial explains almost nothing of it.
    explained = after <= MOST_LEFT * before
    explained &= bool(np.abs(smooth[inside]).max() >= times_beta * LEAST_RAD)
    rest = wrapped(angle - smooth) if explained else angle
    left = robust_polynomial(rest, energy, inside, REST_ORDER)[inside]
    left_rad = float(np.sqrt(np.mean(left.astype(np.float64) ** 2))) / times_beta
    if not explained:
        return Readouts(None, left_rad)
    beta = _stretched(smooth / np.float32(times_beta), strides, grid.shape)
    return Readouts(beta, left_rad)


def _alternation(
    magnitude: Array, phase_rad: Array, inside: Mask, grid: Grid, echo_times_s: tuple[float, ...]
) -> tuple[NDArray[np.complex64], float]:
    """Return a complex image whose angle is a multiple of beta, and the multiple."""
    gaps = np.diff(echo_times_s)
    if np.ptp(gaps) <= EVEN * gaps.mean():
        return _turning(magnitude, phase_rad), 4.0
    deviation = echo_constants.deviations(magnitude, phase_rad, inside, grid, echo_times_s)
    turning = np.zeros(inside.shape, np.complex64)
    # Squared magnitude: phase noise is 1 / SNR, so this weighs each voxel by its inverse variance.
    turning[inside] = magnitude[inside][:, 2] ** 2 * np.exp(1j * deviation[:, 2])
    return turning, 2.0 * float((gaps[0] + gaps[1]) / gaps[0])


def _turning(magnitude: Array, phase_rad: Array) -> NDArray[np.complex64]:
    """Return the magnitude-weighted mean of exp(4 i beta) over the triples of echoes."""
    total: NDArray[np.complex64] = np.zeros(magnitude.shape[:-1], np.complex64)
    for j in range(1, magnitude.shape[-1] - 1):
        # No unwrapping is needed: only the sine and cosine of the second difference are used.
        bend = phase_rad[..., j - 1] - 2 * phase_rad[..., j] + phase_rad[..., j + 1]
        weight = magnitude[..., j - 1] * magnitude[..., j + 1]
        total += weight * np.exp((1j if j % 2 else -1j) * bend)
    return total


def _stretched(smooth: Array, strides: tuple[int, int, int], shape: tuple[int, int, int]) -> Array:
    """Return a polynomial on every voxel from its values on every stride-th."""
    powers = [
        (a, b, c)
        for a in range(ORDER + 1)
        for b in range(ORDER + 1 - a)
        for c in range(ORDER + 1 - a - b)
    ]
    fine = [np.arange(n) / max(n - 1, 1) for n in shape]
    coarse = [axis[::stride] for axis, stride in zip(fine, strides, strict=True)]
    columns = [_monomial(coarse, power).ravel() for power in powers]
    # The values are a polynomial already, so that the fit is exact and need not be robust.
    weights, *_ = np.linalg.lstsq(np.stack(columns, axis=1), smooth.ravel(), rcond=None)
    out = np.zeros(shape, np.float32)
    for weight, power in zip(weights, powers, strict=True):
        out += np.float32(weight) * _monomial(fine, power).astype(np.float32)
    return out


def _monomial(axes: list[NDArray[np.float64]], power: tuple[int, int, int]) -> NDArray[np.float64]:
    x, y, z = (axis**degree for axis, degree in zip(axes, power, strict=True))
    product: NDArray[np.float64] = x[:, None, None] * y[:, None] * z
    return product
