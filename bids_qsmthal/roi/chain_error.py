"""The error of the chain from the signal to the number that no image of one scan shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainError:
    r"""Root mean square error of the number by voxel size and by noise of the field.

    .. math:: s = \sqrt{a^2 + (b\,d^2)^2 + (c\,n)^2}

    with the mean square :math:`d^2` (mm2) of the edges of a voxel, for the ringing of a coarse grid
    and voxels that hold several tissues, and the noise :math:`n` (ppb) of the field of a voxel.
    Echo times, number of echoes, field strength and signal to noise reach the number through
    :math:`n` alone. The coefficients are rounded up from fits to three simulated heads and a
    phantom of ellipsoids, and were held against three other heads (docs/roi.md,
    ``benchmarks/interval.py``). Bias counts as error: 1.2 of the 2.6 ppb by which the phantom errs
    at 2.5 mm is ringing of the cut of k-space, which differs from structure to structure.

    Attributes
    ----------
    one, both
        :math:`a` (ppb), :math:`b` (ppb per mm2) and :math:`c` (ppb per ppb) of one thalamus, and
        of both together, which err less because part of the error of a side is its own.
    unknown_noise_ppb
        Stands for a noise that is not known, as of an external map.
    largest_edge_mm2
        Cubes of 3 mm were the largest that were measured: what is coarser counts as they do, and
        is checked anyway for an interval beyond 3 ppb.
    """

    one: tuple[float, float, float] = (0.9, 0.3, 0.7)
    both: tuple[float, float, float] = (0.7, 0.26, 0.5)
    unknown_noise_ppb: float = 3.0
    largest_edge_mm2: float = 9.0

    def __call__(self, edge_mm2: float, noise_ppb: float | None = None) -> tuple[float, float]:
        """Return the error (ppb) of one thalamus and of both together.

        Parameters
        ----------
        edge_mm2
            Mean square edge of an acquired voxel: interpolation makes voxels smaller and resolves
            nothing.
        noise_ppb
            Median standard deviation of the field in the brain, of one acquired voxel.
        """
        known = noise_ppb is not None and np.isfinite(noise_ppb)
        noise = noise_ppb if known and noise_ppb is not None else self.unknown_noise_ppb
        edge_mm2 = min(edge_mm2, self.largest_edge_mm2)
        one, both = (
            float(np.sqrt(a**2 + (b * edge_mm2) ** 2 + (c * noise) ** 2))
            for a, b, c in (self.one, self.both)
        )
        return one, both
