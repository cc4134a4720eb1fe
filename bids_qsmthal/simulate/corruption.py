"""What spoils a scan: motion during its acquisition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import fft

if TYPE_CHECKING:
    from collections.abc import Sequence

Complex = NDArray[np.complex64]


def with_motion(
    signal: Complex, positions_voxels: Sequence[tuple[float, float]], *, order: NDArray[np.intp]
) -> Complex:
    r"""Return an image acquired while the head changed its position.

    Moving by d multiplies a sample k of the image's transform by :math:`e^{-2 \pi i k \cdot d}`.
    Lines along the second axis (phase encoding) are acquired one after another; all echoes of a
    line are read at once, so the same positions spoil every echo.

    Parameters
    ----------
    signal
        Complex image, shape (x, y, z).
    positions_voxels
        Place (x, y) during equal parts of the scan, in voxels.
    order
        When each line was acquired: a permutation of the lines, as ``fft`` orders them.
    """
    nx, ny = signal.shape[:2]
    # By the time at which a line was read and not by its place: neighbours in k-space may be far
    # apart in time.
    part = order * len(positions_voxels) // ny
    position = np.asarray(positions_voxels, np.float64)[part]
    kx, ky = np.fft.fftfreq(nx)[:, None], np.fft.fftfreq(ny)[None]
    # Frequencies in cycles a voxel, positions in voxels: their product is in turns.
    turn = np.exp(-2j * np.pi * (kx * position[:, 0] + ky * position[:, 1]))
    spectrum = fft.fft2(signal, axes=(0, 1)) * turn[..., None]
    image: Complex = np.asarray(fft.ifft2(spectrum, axes=(0, 1)), np.complex64)
    return image


def random_motion(
    amplitude_voxels: float, lines: int, generator: np.random.Generator, *, parts: int = 16
) -> tuple[list[tuple[float, float]], NDArray[np.intp]]:
    """Return places of a head that moves now and then, and the order of the lines.

    The places are normal with standard deviation ``amplitude_voxels`` along each axis. Lines are
    acquired from one edge of the transform to the other.
    """
    places = generator.normal(0, amplitude_voxels, (parts, 2))
    # The rank of each frequency: ``fft`` puts the negative ones last, the scanner reads them first.
    order = np.argsort(np.argsort(np.fft.fftfreq(lines)))
    return [(float(x), float(y)) for x, y in places], order
