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
    from bids_qsmthal.qsm.grid import Array, Grid, Mask

log = logging.getLogger(__name__)

TWO_PI = 2 * np.pi


class Unwrapping(Protocol):
    """Anything that turns a wrapped angle into a continuous one."""

    def __call__(self, phase_rad: Array, magnitude: Array, mask: Mask, grid: Grid) -> Array:
        """Return the unwrapped phase in rad, zero outside the mask."""


@dataclass(frozen=True, slots=True)
class Romeo:
    """Region growing along the most trustworthy edges first.

    The quality of an edge between two neighbours is the product of three ROMEO weights of a single
    map: phase coherence, phase linearity and magnitude coherence. Each separate part of the mask
    is shifted by the multiple of 2 pi that brings its median nearest to zero.

    References
    ----------
    Dymerska et al. (2021). Magn Reson Med 85(4), 2294-2308. doi:10.1002/mrm.28563
    """

    def __call__(self, phase_rad: Array, magnitude: Array, mask: Mask, grid: Grid) -> Array:
        """Return the unwrapped phase in rad, zero outside the mask."""
        del grid
        phase = np.ascontiguousarray(phase_rad, dtype=np.float32)
        inside = np.ascontiguousarray(mask)
        quality = region_growing.edge_quality(
            phase, np.ascontiguousarray(magnitude, np.float32), inside
        )
        unwrapped, region = region_growing.grow(phase, inside, quality)
        labels = range(1, int(region.max(initial=0)) + 1)
        shift = np.zeros(len(labels) + 1, np.float32)
        if labels:
            medians = np.asarray(ndimage.median(unwrapped, region, labels))
            shift[1:] = TWO_PI * np.round(medians / TWO_PI)
        unwrapped -= shift[region]
        unwrapped[~inside] = 0
        return cast("Array", unwrapped)


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
        kernel = laplace_kernel(box.grid)
        kernel[0, 0, 0] = np.inf
        smooth = np.zeros_like(phase)
        for _ in range(self.corrections):
            curvature = np.zeros_like(phase)
            for axis, size_mm in enumerate(grid.voxel_size_mm):
                step = _wrapped_step(phase - smooth, inside, axis) / np.float32(size_mm**2)
                curvature += np.roll(step, 1, axis) - step
            smooth += convolve(curvature, 1 / kernel)
        rest = np.angle(np.exp(1j * (phase - smooth))[inside].mean())
        turns = np.round((smooth + np.float32(rest) - phase) / TWO_PI)
        whole = box.paste((phase + TWO_PI * turns).astype(np.float32))
        return np.where(mask, whole, 0).astype(np.float32)


def _wrapped_step(angle: Array, mask: Mask, axis: int) -> Array:
    """Return the wrapped difference to the next voxel where both are inside, else zero."""
    step = np.roll(angle, -1, axis) - angle
    both = mask & np.roll(mask, -1, axis)
    return np.where(both, step - np.float32(TWO_PI) * np.round(step / np.float32(TWO_PI)), 0)


UNWRAPPINGS: dict[str, type[Unwrapping]] = {"romeo": Romeo, "laplacian": Laplacian}


def unwrap_echoes(
    phase_rad: Array,
    magnitude: Array,
    mask: Mask,
    grid: Grid,
    echo_times_s: tuple[float, ...],
    *,
    template: int = 0,
) -> Array:
    """Unwrap a template echo in space and every other echo in time, shape (x, y, z, echo).

    The phase of echo j is expected at the template's phase times TE_j / TE_template and put on the
    nearest branch, walking outwards from the template echo so that each step is short.

    References
    ----------
    Dymerska et al. (2021). Magn Reson Med 85(4), 2294-2308. doi:10.1002/mrm.28563
    """
    out = np.zeros_like(phase_rad, dtype=np.float32)
    out[..., template] = Romeo()(phase_rad[..., template], magnitude[..., template], mask, grid)
    last = len(echo_times_s) - 1
    order = [(j, j - 1) for j in range(template + 1, last + 1)]
    order += [(j, j + 1) for j in range(template - 1, -1, -1)]
    for echo, neighbour in order:
        expected = out[..., neighbour] * (echo_times_s[echo] / echo_times_s[neighbour])
        turns = np.round((expected - phase_rad[..., echo]) / TWO_PI)
        out[..., echo] = np.where(mask, phase_rad[..., echo] + TWO_PI * turns, 0)
    return out
