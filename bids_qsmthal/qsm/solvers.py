"""Iterative solvers. They know functions, not physics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from bids_qsmthal.core.grid import Array


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """The answer of a solver, and whether to trust it."""

    x: Array
    iterations: int
    relative_residual: float
    converged: bool


def conjugate_gradient(
    normal: Callable[[Array], Array],
    right_hand_side: Array,
    *,
    start: Array | None = None,
    max_iterations: int = 100,
    tolerance: float = 1e-3,
) -> Solution:
    r"""Solve :math:`N x = b` for a self-adjoint, positive semi-definite map ``normal``.

    Parameters
    ----------
    normal
        The map :math:`N`; it must return an array of the shape it is given.
    right_hand_side
        The array :math:`b`, of any shape; NumPy's or of any namespace that keeps to the array API.
    start
        Where to begin; zero by default. It is not changed.
    max_iterations
        Give up after this many applications of ``normal``.
    tolerance
        Stop once :math:`\|b - N x\| \le` ``tolerance`` :math:`\|b\|`.

    Returns
    -------
    Solution
        Its ``x`` has the shape of ``right_hand_side``.

    References
    ----------
    Hestenes & Stiefel (1952). J Res Natl Bur Stand 49(6), 409-436.
    """
    xp: Any = right_hand_side.__array_namespace__()
    x = 0 * right_hand_side if start is None else xp.asarray(start, copy=True)
    residual = 1 * right_hand_side if start is None else right_hand_side - normal(start)
    direction = 1 * residual
    scale = _dot(right_hand_side, right_hand_side)
    energy = _dot(residual, residual)
    iteration = 0
    while energy > tolerance**2 * scale and iteration < max_iterations:
        image = normal(direction)
        curvature = _dot(direction, image)
        # A null direction of a semi-definite map, or NaN: going on would divide by zero.
        if not curvature > 0:
            break
        step = energy / curvature
        x += step * direction
        residual -= step * image
        energy, previous = _dot(residual, residual), energy
        direction *= energy / previous
        direction += residual
        iteration += 1
    relative_residual = float(np.sqrt(energy / scale)) if scale else 0.0
    return Solution(x, iteration, relative_residual, relative_residual <= tolerance)


def _dot(a: Array, b: Array) -> float:
    """Return the inner product; blocks summed in double precision keep it exact enough."""
    if not isinstance(a, np.ndarray):
        return float(a.__array_namespace__().sum(a * b))
    # A float32 dot product over 10^7 voxels loses the digits that the stopping rule compares.
    flat_a, flat_b = a.ravel(), b.ravel()
    size = 1 << 16
    return float(
        sum(
            float(np.dot(flat_a[i : i + size], flat_b[i : i + size]))
            for i in range(0, flat_a.size, size)
        )
    )
