"""The same scan reconstructed otherwise: how much of the number is the method, how much noise."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

import numpy as np

from bids_qsmthal.qsm.background import JointDipoleFields, ProjectionOntoDipoleFields
from bids_qsmthal.qsm.reconstruction import Reconstruction, finite, solved
from bids_qsmthal.qsm.spherical import SphericalMean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bids_qsmthal.core.grid import Array, Grid
    from bids_qsmthal.qsm.acquisition import Acquisition
    from bids_qsmthal.qsm.background import Background
    from bids_qsmthal.qsm.measurement import Measurement
    from bids_qsmthal.qsm.reconstruction import Maps

log = logging.getLogger(__name__)

FEWEST_ECHOES = 4
"""Half of fewer echoes is one echo, whose phase offset cannot be told from its field."""

RIVALS: Mapping[str, Background] = {
    "joint": JointDipoleFields(),
    "pdf": ProjectionOntoDipoleFields(),
    "v-sharp": SphericalMean(),
}
"""Background removals to compare with; the one that was chosen is no rival to itself."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Variants:
    """Susceptibility made otherwise, in ppm, shape (x, y, z), zero where it was not made.

    Attributes
    ----------
    backgrounds
        One map for each other background removal, from the same total field and inverted in
        the same way.
    half_difference_ppm
        Half the difference of the maps of the odd and of the even echoes. Both halves hold the
        same head, so what is left is what noise, in the field and through background removal and
        inversion, does to the map of all echoes. ``None`` below four echoes.
    """

    backgrounds: Mapping[str, Array] = field(default_factory=dict)
    half_difference_ppm: Array | None = None


def variants(
    magnitude: Array,
    phase_rad: Array,
    maps: Maps,
    grid: Grid,
    acquisition: Acquisition,
    *,
    settings: Reconstruction | None = None,
) -> Variants:
    """Return the maps of other background removals and the repeat on split echoes.

    Parameters
    ----------
    magnitude, phase_rad, grid, acquisition, settings
        Those of ``reconstruct``.
    maps
        What it returned for them: the map to compare with, and the total field of all echoes.
    """
    chosen = settings or Reconstruction()
    # Voxels that are not finite count as not measured.
    signal = finite(magnitude, phase_rad)
    seen = maps.measurement(signal[0], acquisition)
    others = {
        name: _susceptibility(seen, grid, replace(chosen, background=rival))
        for name, rival in RIVALS.items()
        if type(rival) is not type(chosen.background)
    }
    if len(acquisition.echo_times_s) < FEWEST_ECHOES:
        return Variants(backgrounds=others)
    ppm_per_hz = np.float32(1e6 / acquisition.centre_frequency_hz)
    # Noise of the two halves is independent, so half of their difference has the noise of their
    # mean.
    odd, even = (
        _susceptibility(
            # Mask, weights and reference stay, so only noise moves.
            seen._replace(field_ppm=field_hz * ppm_per_hz),
            grid,
            chosen,
        )
        for field_hz in (
            half_field(signal, maps, grid, acquisition, chosen, first) for first in (0, 1)
        )
    )
    return Variants(backgrounds=others, half_difference_ppm=(odd - even) / 2)


def half_field(
    signal: tuple[Array, Array],
    maps: Maps,
    grid: Grid,
    acquisition: Acquisition,
    chosen: Reconstruction,
    first: int,
) -> Array:
    """Return the total field (Hz) of every second echo, on the turn of the field of all echoes.

    Twice the echo spacing wraps at half the frequency, so unwrapping alone may choose another turn
    in places; that is no noise.
    """
    # Odd or even echoes: both halves have the same spacing, and together they are the whole scan.
    half = slice(first, None, 2)
    times_s = acquisition.echo_times_s[half]
    magnitude, phase_rad = (np.ascontiguousarray(array[..., half]) for array in signal)
    own = replace(acquisition, echo_times_s=times_s)
    found = chosen.fitting(magnitude, phase_rad, maps.sound, grid, own).frequency_hz
    turn_hz = np.float32(1 / np.diff(times_s).min())
    # A turn of the halved sampling is a smaller step in Hz than that of all echoes.
    turns = np.round((maps.total_field_hz - found) / turn_hz)
    return cast("Array", np.where(maps.sound, found + turns * turn_hz, 0).astype(np.float32))


def _susceptibility(seen: Measurement, grid: Grid, chosen: Reconstruction) -> Array:
    return solved(seen, grid, chosen)[1].chi_ppm
