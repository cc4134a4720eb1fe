"""Linear interpolation of volumes on the grid of another image.

Compiled: a quarter of the time of ``scipy.ndimage.affine_transform`` (5.8 million points: 0.05 for
0.20 CPU-s), which is the one to ask for other splines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray


def linear(
    data: NDArray[Any],
    step: NDArray[np.floating[Any]],
    shape: tuple[int, ...],
    *,
    beyond: Literal["constant", "nearest"] = "constant",
    fill: float = 0.0,
) -> NDArray[np.float32]:
    """Sample a volume at the voxels of another grid.

    Parameters
    ----------
    data
        Shape (x, y, z).
    step
        4x4 matrix that takes a voxel of the grid wanted to a voxel of ``data``.
    shape
        Of the grid wanted.
    beyond
        What lies beyond the outermost centres of ``data``: ``fill``, or what the nearest one has.
    fill
        Value outside with ``constant``.

    Returns
    -------
    ndarray
        float32, C-contiguous, of ``shape``.
    """
    out = np.full(shape, fill, np.float32)
    # Writable and contiguous, whatever came: one compiled version serves all.
    source = np.require(data, np.float32, ("C", "W"))
    _fill_planes(source, np.ascontiguousarray(step, np.float64), beyond == "nearest", out)
    return out


@njit(cache=True, nogil=True)
def _fill_planes(
    data: NDArray[np.float32],
    step: NDArray[np.float64],
    clamped: bool,  # noqa: FBT001 - Numba takes no keywords
    out: NDArray[np.float32],
) -> None:
    nx, ny, nz = data.shape
    px, py, pz = out.shape
    for i in range(px):
        for j in range(py):
            for k in range(pz):
                x = step[0, 3] + step[0, 0] * i + step[0, 1] * j + step[0, 2] * k
                y = step[1, 3] + step[1, 0] * i + step[1, 1] * j + step[1, 2] * k
                z = step[2, 3] + step[2, 0] * i + step[2, 1] * j + step[2, 2] * k
                if clamped:
                    x = min(max(x, 0.0), nx - 1.0)
                    y = min(max(y, 0.0), ny - 1.0)
                    z = min(max(z, 0.0), nz - 1.0)
                elif not (0 <= x <= nx - 1 and 0 <= y <= ny - 1 and 0 <= z <= nz - 1):
                    continue
                # On the last centre itself there is no next one: its weight is zero.
                a, b, c = int(x), int(y), int(z)
                d, e, f = min(a + 1, nx - 1), min(b + 1, ny - 1), min(c + 1, nz - 1)
                u, v, w = x - a, y - b, z - c
                low = (data[a, b, c] * (1 - w) + data[a, b, f] * w) * (1 - v) + (
                    data[a, e, c] * (1 - w) + data[a, e, f] * w
                ) * v
                high = (data[d, b, c] * (1 - w) + data[d, b, f] * w) * (1 - v) + (
                    data[d, e, c] * (1 - w) + data[d, e, f] * w
                ) * v
                out[i, j, k] = low * (1 - u) + high * u
