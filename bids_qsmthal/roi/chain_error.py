"""The error of the chain from the signal to the number that no image of one scan shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainError:
    r"""Root mean square error of the number by the edges of a voxel and by noise of the field.

    .. math:: s = \sqrt{a^2 + b^2\,\overline{d^4} + (c\,n)^2}

    with the mean :math:`\overline{d^4}` (mm4) over the three edges of a voxel, as if each axis
    erred for itself by its edge squared: for the ringing of a coarse grid and voxels that hold
    several tissues; and the noise :math:`n` (ppb) of the field of a voxel. Echo times, number of
    echoes, field strength and signal to noise reach the number through :math:`n` alone. The
    coefficients are the maximum likelihood of 291 intervals of 31 simulated heads, rounded up; fits
    to half of the heads were held against the other half (``benchmarks/interval_fit.py``,
    docs/roi.md). Six of these heads had bone in their masks, so the coefficients are on the wide
    side. Bias counts as error.

    A phantom of ellipsoids with thin fluid errs more at 2.5 mm (-3.7 ppb) than heads do (0.9): the
    limit of ``acquired_voxel_mm3`` says so, as no interval of heads would.

    Attributes
    ----------
    one, both
        :math:`a` (ppb), :math:`b` (ppb per mm2) and :math:`c` (ppb per ppb) of one thalamus, and
        of both together, which err less because part of the error of a side is its own.
    unknown_noise_ppb
        Stands for a noise that is not known, as of an external map.
    longest_edge_mm
        Cubes of 3 mm were the largest that were measured: what is coarser counts as they do, and
        is checked anyway (``acquired_voxel_mm3``).
    """

    one: tuple[float, float, float] = (1.2, 0.16, 0.6)
    both: tuple[float, float, float] = (1.0, 0.15, 0.5)
    unknown_noise_ppb: float = 3.0
    longest_edge_mm: float = 3.0

    def __call__(
        self, edges_mm: tuple[float, float, float], noise_ppb: float | None = None
    ) -> tuple[float, float]:
        """Return the error (ppb) of one thalamus and of both together.

        Parameters
        ----------
        edges_mm
            Edges of an acquired voxel: interpolation makes voxels smaller and resolves nothing.
        noise_ppb
            Median standard deviation of the field in the brain, of one acquired voxel.
        """
        known = noise_ppb is not None and np.isfinite(noise_ppb)
        noise = noise_ppb if known and noise_ppb is not None else self.unknown_noise_ppb
        fourth_mm4 = float(np.mean(np.minimum(edges_mm, self.longest_edge_mm) ** 4))
        one, both = (
            float(np.sqrt(a**2 + b**2 * fourth_mm4 + (c * noise) ** 2))
            for a, b, c in (self.one, self.both)
        )
        return one, both
