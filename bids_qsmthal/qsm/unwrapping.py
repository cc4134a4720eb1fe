"""Phase unwrapping: from angles in (-pi, pi] to angles that are continuous in space."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
from scipy import ndimage

from bids_qsmthal.qsm import region_growing
from bids_qsmthal.qsm.operators import box_around, convolve, laplace_kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_qsmthal.core.grid import Array, Grid, Mask

log = logging.getLogger(__name__)

TWO_PI = 2 * np.pi


class Unwrapping(Protocol):
    """Anything that turns a wrapped angle into a continuous one."""

    def __call__(self, phase_rad: Array, magnitude: Array, mask: Mask, grid: Grid) -> Array:
        """Return the unwrapped phase in rad, zero outside the mask."""


@dataclass(frozen=True, slots=True)
class Romeo:
    """Region growing along the most trustworthy edges first.

    The quality of an edge between two neighbours is the product of ROMEO's weights: phase
    coherence, phase linearity, magnitude coherence, and those of dark and bright voxels; with a
    second echo also the coherence of gradients between echoes. Each separate part of the mask is
    shifted by the multiple of 2 pi that brings its median nearest to zero.

    References
    ----------
    Dymerska et al. (2021). Magn Reson Med 85(4), 2294-2308. doi:10.1002/mrm.28563
    """

    def __call__(self, phase_rad: Array, magnitude: Array, mask: Mask, grid: Grid) -> Array:
        """Return the unwrapped phase in rad, zero outside the mask."""
        del grid
        return _grown(phase_rad, magnitude, mask, np.zeros((0, 0, 0), np.float32), 1.0)


def _grown(
    phase_rad: Array, magnitude: Array, mask: Mask, second_rad: Array, time_ratio: float
) -> Array:
    """Return the phase unwrapped by region growing; an empty second echo is left out."""
    phase, size, second = (
        np.ascontiguousarray(a, np.float32) for a in (phase_rad, magnitude, second_rad)
    )
    inside = np.ascontiguousarray(mask)
    if not inside.any():
        return np.zeros(mask.shape, np.float32)
    quality = region_growing.edge_quality(phase, size, inside, second, time_ratio)
    unwrapped, region = region_growing.grow(phase, inside, quality)
    # Parts without a common edge have turns of their own: the field of a brain is near zero, so its
    # median is.
    unwrapped -= _turns_of_parts(unwrapped, region)[region]
    unwrapped[~inside] = 0
    return cast("Array", unwrapped)


def _turns_of_parts(unwrapped: Array, region: NDArray[np.int32]) -> Array:
    """Return, for each label, the multiple of 2 pi nearest to the median of its part."""
    sizes = np.bincount(region.ravel())
    sizes[0] = 0
    medians = np.zeros(sizes.size, np.float32)
    largest = int(sizes.argmax())
    medians[largest] = np.median(unwrapped[region == largest])
    # The rest is few voxels in many parts; sorting the brain by label would take longest.
    rest = (region > 0) & (region != largest)
    labels = np.flatnonzero((sizes > 0) & (np.arange(sizes.size) != largest))
    if labels.size:
        medians[labels] = ndimage.median(unwrapped[rest], region[rest], labels)
    return cast("Array", np.float32(TWO_PI) * np.round(medians / np.float32(TWO_PI)))


@dataclass(frozen=True, slots=True)
class Laplacian:
    """Solve Poisson's equation for the phase, then make it congruent with what was measured.

    The right-hand side is the divergence of the wrapped differences between neighbours inside the
    mask. A few corrections, each with the wrapped differences of what is left, take care of the
    edge of the mask, where a single solution would be wrong.

    References
    ----------
    Schofield & Zhu (2003). Opt Lett 28(14), 1194-1196. doi:10.1364/OL.28.001194
    """

    margin_mm: float = 20.0
    corrections: int = 40

    def __call__(self, phase_rad: Array, magnitude: Array, mask: Mask, grid: Grid) -> Array:
        """Return the unwrapped phase in rad, zero outside the mask."""
        del magnitude
        if not mask.any():
            return np.zeros(mask.shape, np.float32)
        box = box_around(mask, grid, self.margin_mm)
        phase = box.cut(np.where(mask, phase_rad, 0).astype(np.float32))
        inside = box.cut(mask)
        kernel = laplace_kernel(box.grid(grid))
        # The mean of a phase is free in Poisson's equation: infinity leaves it at zero.
        kernel[0, 0, 0] = np.inf
        smooth = np.zeros_like(phase)
        for _ in range(self.corrections):
            curvature = np.zeros_like(phase)
            for axis, size_mm in enumerate(grid.voxel_size_mm):
                # Each correction sees the wraps of what is left; where the first solution was
                # right, it adds nothing.
                step = _wrapped_step(phase - smooth, inside, axis) / np.float32(size_mm**2)
                curvature += np.roll(step, 1, axis) - step
            # The same discrete Laplacian as the differences: the continuous one would leave a
            # residue at each step.
            smooth += convolve(curvature, 1 / kernel)
        # Congruent: the result differs from the measured phase by whole turns only.
        rest = np.angle(np.exp(1j * (phase - smooth))[inside].mean())
        turns = np.round((smooth + np.float32(rest) - phase) / TWO_PI)
        whole = box.paste((phase + TWO_PI * turns).astype(np.float32))
        return np.where(mask, whole, 0).astype(np.float32)


def _wrapped_step(angle: Array, mask: Mask, axis: int) -> Array:
    """Return the wrapped difference to the next voxel where both are inside, else zero."""
    # np.roll joins the last face with the first; both must lie inside, and the box has a margin.
    step = np.roll(angle, -1, axis) - angle
    both = mask & np.roll(mask, -1, axis)
    return np.where(both, step - np.float32(TWO_PI) * np.round(step / np.float32(TWO_PI)), 0)


UNWRAPPINGS: dict[str, type[Unwrapping]] = {"romeo": Romeo, "laplacian": Laplacian}


def unwrap_echoes(
    phase_rad: Array,
    magnitude: Array,
    mask: Mask,
    echo_times_s: tuple[float, ...],
    *,
    template: int = 0,
) -> Array:
    """Unwrap a template echo in space and every other echo in time, shape (x, y, z, echo).

    ROMEO's weights of the template compare its gradients with those of the next echo (the one
    before, for the last). The phase of echo j is expected at its neighbour's phase times the ratio
    of their echo times and put on the nearest branch, walking outwards from the template so that
    each step is short. There must be no phase at echo time zero: see ``field.mcpc_3d_s``.

    References
    ----------
    Dymerska et al. (2021). Magn Reson Med 85(4), 2294-2308. doi:10.1002/mrm.28563
    """
    out = np.zeros_like(phase_rad, dtype=np.float32)
    last = len(echo_times_s) - 1
    other = template + 1 if template < last else template - 1
    second = phase_rad[..., other] if last else np.zeros((0, 0, 0), np.float32)
    ratio = echo_times_s[template] / echo_times_s[other] if last else 1.0
    out[..., template] = _grown(
        phase_rad[..., template], magnitude[..., template], mask, second, ratio
    )
    order = [(j, j - 1) for j in range(template + 1, last + 1)]
    order += [(j, j + 1) for j in range(template - 1, -1, -1)]
    for echo, neighbour in order:
        # Proportional to echo time: right only without a phase at time zero.
        expected = out[..., neighbour] * (echo_times_s[echo] / echo_times_s[neighbour])
        turns = np.round((expected - phase_rad[..., echo]) / TWO_PI)
        out[..., echo] = np.where(mask, phase_rad[..., echo] + TWO_PI * turns, 0)
    return out
