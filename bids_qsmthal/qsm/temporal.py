"""The field from echoes that are each unwrapped: the published chain, to compare with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import numpy as np

from bids_qsmthal.core.errors import DataError
from bids_qsmthal.qsm.field import FieldMap, field_map, mcpc_3d_s, noise_level
from bids_qsmthal.qsm.smooth import wrapped
from bids_qsmthal.qsm.unwrapping import Romeo, unwrap_echoes

if TYPE_CHECKING:
    from bids_qsmthal.core.grid import Array, Grid, Mask
    from bids_qsmthal.qsm.acquisition import Acquisition


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoByEcho:
    """Take MCPC-3D-S's offset away, unwrap a template echo in space and the others in time (ROMEO).

    The slope is the magnitude-weighted linear fit through zero. ``ComplexFit`` needs no echo
    unwrapped by itself and comes nearer to the bound of the noise.

    Attributes
    ----------
    template
        Index of the echo that is unwrapped in space.
    unwrapping
        How the phase difference of the first two echoes is unwrapped for the offset.

    References
    ----------
    Dymerska et al. (2021). Magn Reson Med 85(4), 2294-2308. doi:10.1002/mrm.28563
    Eckstein et al. (2018). Magn Reson Med 79(6), 2996-3006. doi:10.1002/mrm.26963
    """

    template: int = 0
    unwrapping: Romeo = field(default_factory=Romeo)

    def __call__(
        self, magnitude: Array, phase_rad: Array, mask: Mask, grid: Grid, acquisition: Acquisition
    ) -> FieldMap:
        """Return the total field; arrays are (x, y, z, echo), ``mask`` is (x, y, z).

        Raises
        ------
        DataError
            There is one echo only, or the template is none of them.
        """
        times = np.asarray(acquisition.echo_times_s, np.float64)
        if len(times) < 2 or not 0 <= self.template < len(times):
            raise DataError(
                f"Echo-by-echo unwrapping with template {self.template} needs two echoes or more "
                f"and the template among them, but there are {len(times)}; use the complex fit."
            )
        offset = mcpc_3d_s(magnitude, phase_rad, mask, grid, times, self.unwrapping)
        evolved = wrapped(phase_rad - offset[..., None])
        unwrapped = unwrap_echoes(
            evolved, magnitude, mask, acquisition.echo_times_s, template=self.template
        )[mask]
        weight = magnitude[mask] ** 2
        moment = (weight * times**2).sum(-1)
        slope = ((weight * times * unwrapped).sum(-1) / moment).astype(np.float32)
        misfit = unwrapped - slope[:, None] * times
        energy = cast("Array", weight.sum(-1))
        residual = np.sqrt((weight * misfit**2).sum(-1) / energy).astype(np.float32)
        # One parameter is fitted; noise_level takes two off, hence one more echo.
        sigma = noise_level(residual, energy, len(times) + 1)
        level = (sigma, len(times) - 1)
        noise = sigma / np.sqrt(moment)
        return field_map(slope, noise, residual, energy, mask, level, offset="mcpc-3d-s")
