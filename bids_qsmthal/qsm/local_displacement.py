"""Parts of the head where magnitude and phase do not lie on each other.

The noise of the phase in a voxel is that of the signal over its magnitude. In one echo it is hidden
in the field of the tissues. But this field is in proportion to the echo time: the phase of one echo
less that of another, times the ratio of their times, is noise alone. It is strong where the
magnitude is dark, voxel by voxel. Where it is strong a voxel or two beside, the magnitude was
displaced there: one of both was corrected for distortion.

In three real scans (two vendors, 3-D and echo-planar, two and three echoes) the logarithm of this
noise follows that of the inverse magnitude with slopes of 1.0, 1.0 and 0.7, and best where both lie
on each other.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from scipy import ndimage

from bids_qsmthal.core.crop import around
from bids_qsmthal.core.scan_warnings import MagnitudeDistorted
from bids_qsmthal.qsm.displacement import (
    REACH,
    DisplacementFit,
    Sums,
    correlations,
    fit_along,
    inverse_squares,
    jackknife,
)
from bids_qsmthal.qsm.smooth import wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bids_qsmthal.core.grid import Array, Mask

BLOCKS = 12
"""Parts of the head along each axis, one of which is left out at a time for the standard error."""

PART = 4
"""Neighbouring blocks along each axis that are looked at together: a third of the head, 5 to 6 cm.
Of 9 and 4, 9 and 3, 12 and 4, these told four simulated heads apart best from the same ones
displaced by 1 and 2 voxels (the middle alone, SD 25 mm; voxels of 1.5 to 3 mm, two to four echoes,
SNR 25 to 58)."""

LEAST_BLOCKS = PART**3 // 2
"""Of a part; fewer lie in a corner of the box, which holds little of the head."""

LEAST_VOXELS = 0.4
"""Smaller displacements are not warned about."""

CERTAINLY = 6.0
"""A displacement is believed from so many of its standard errors on: 700 parts are looked at along
three axes. The same heads and three real scans, lying on each other, reach two thirds of one of
these three limits at most."""

CERTAIN_FIT = 7.0
"""Standard errors of the correlation that a part must reach at its best place: below, nothing
follows the magnitude, as where the phase was denoised or a part has no contrast."""

RIM = 1
"""Outermost voxels that are left out: their differences reach into skull and air. With them, parts
of the rim of a phantom of 4 mm seem displaced by half a voxel, inwards on either side."""

NEIGHBOURHOOD = 5
"""Voxels along each axis from whose mean a voxel is told apart. Coils, fields and the noise of
parallel imaging change slowly; veins, ventricles and the cortex do not."""

FULL_NOISE = np.pi**2
"""Sum over three axes of the mean square of a phase without signal: pi^2 / 3 each."""

LEAST_NOISE = 0.02
"""Of the median: the logarithm of less would be that of the steps in which the phase is stored."""


def check_parts(
    magnitude: Array, phase_rad: Array, times_s: Sequence[float], inside: Mask
) -> MagnitudeDistorted | None:
    """Return a warning where the magnitude of a part of the head does not lie on its phase.

    Parameters
    ----------
    magnitude, phase_rad
        Finite signal, shape (x, y, z, echo); the last two echoes are compared, whose noise is the
        strongest and whose magnitude has the most contrast. One echo tells nothing.
    times_s
        Of the echoes.
    inside
        The head or the brain.
    """
    box = around(inside, margin=(REACH, REACH, REACH))
    if len(times_s) < 2 or box is None:
        return None
    here = box.slices
    known = ndimage.binary_erosion(inside[here], iterations=RIM)
    last_two = (*here, slice(-2, None))
    measured, predicted = noise_of_phase(
        magnitude[last_two], phase_rad[last_two], times_s[-1] / times_s[-2]
    )
    known &= (measured > 0) & np.isfinite(predicted)
    if not known.any():
        return None
    sigma2 = float(np.median(measured[known]) / np.median(predicted[known]))
    least = LEAST_NOISE * float(np.median(measured[known]))
    seen = _detail(np.log(np.maximum(measured, least)), known)
    predicted = _detail(-np.log(1 / np.maximum(sigma2 * predicted, least) + 1 / FULL_NOISE), known)
    fits = [fit_along(predicted, seen, known, axis, BLOCKS) for axis in range(3)]
    parts = [0.0 if fit is None else most_of_a_part(fit) for fit in fits]
    return MagnitudeDistorted(*parts) if any(parts) else None


def noise_of_phase(magnitude: Array, phase_rad: Array, ratio: float) -> tuple[Array, Array]:
    """Return the noise between two echoes, from their phases and from their magnitudes.

    Second differences in space need no unwrapping, and leave of the field what bends. This is in
    proportion to the time, so that its value in the first echo, times ``ratio``, cancels it in the
    second. The phase at time zero comes from the coils and does not bend.

    Returns
    -------
    measured
        Square in rad2, added up over the three axes; zero at the faces of the image.
    predicted
        The same for noise of 1 in the signal, from the inverse squares of the magnitude.
    """
    share = np.float32(1 / (1 + ratio * ratio))
    measured = np.zeros(phase_rad.shape[:3], np.float32)
    middle = (slice(1, -1),) * 3
    for axis in range(3):
        bend = wrapped(np.diff(phase_rad, 2, axis=axis))
        left = (bend[..., 1] - np.float32(ratio) * bend[..., 0]) ** 2
        rest = tuple(slice(None) if a == axis else slice(1, -1) for a in range(3))
        measured[middle] += left[rest]
    predicted = inverse_squares(magnitude[..., 1])
    predicted += np.float32(ratio * ratio) * inverse_squares(magnitude[..., 0])
    return measured * share, predicted * share


def _detail(image: Array, known: Mask) -> Array:
    """Return the image without the mean of its neighbourhood; zero where it is not known."""
    inside = known.astype(np.float32)
    mean = ndimage.uniform_filter(np.where(known, image, 0), NEIGHBOURHOOD)
    count = ndimage.uniform_filter(inside, NEIGHBOURHOOD)
    return cast("Array", (inside * (image - mean / np.maximum(count, 1e-3))).astype(np.float32))


class PartOfHead(NamedTuple):
    """How a part of the head lies along one axis.

    Attributes
    ----------
    voxels, error
        Displacement and its standard error.
    fit, fit_error
        Correlation of the noise with the magnitude at the best whole displacement.
    """

    voxels: float
    error: float
    fit: float
    fit_error: float

    @property
    def believed(self) -> bool:
        """Whether it is displaced by more than error and anatomy explain."""
        # At the last place that was tried the best one may lie anywhere beyond.
        return (
            max(LEAST_VOXELS, CERTAINLY * self.error) < abs(self.voxels) <= REACH - 1
            and self.fit > CERTAIN_FIT * self.fit_error
        )


def parts_of_head(fit: DisplacementFit) -> list[PartOfHead]:
    """Return every part that holds enough of the head; neighbouring parts overlap."""
    found = []
    for corner in product(range(BLOCKS - PART + 1), repeat=3):
        low = np.array(corner)
        inside = ((fit.places >= low) & (fit.places < low + PART)).all(axis=1)
        sums = fit.sums[:, inside]
        where = jackknife(sums) if inside.sum() >= LEAST_BLOCKS else None
        if where is not None:
            found.append(PartOfHead(*where, *_best_fit(sums)))
    return found


def _best_fit(sums: Sums) -> tuple[float, float]:
    """Return the largest correlation and its error, by leaving out one block at a time."""
    total = sums.sum(axis=1)
    heights = correlations(total)
    best = int(heights.argmax())
    without = correlations(total[:, None] - sums)[best]
    count = without.size
    error = np.sqrt((count - 1) / count * ((without - without.mean()) ** 2).sum())
    return float(heights[best]), float(error)


def most_of_a_part(fit: DisplacementFit) -> float:
    """Return the largest displacement of a part that is believed; 0 without one."""
    believed = [part.voxels for part in parts_of_head(fit) if part.believed]
    return max(believed, key=abs, default=0.0)
