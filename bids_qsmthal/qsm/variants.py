"""The same scan reconstructed otherwise: how much of the number is the method, how much noise."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

import numpy as np

from bids_qsmthal.qsm.background import JointDipoleFields, ProjectionOntoDipoleFields
from bids_qsmthal.qsm.reconstruction import Reconstruction, observe, solved
from bids_qsmthal.qsm.spherical import SphericalMean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bids_qsmthal.core.grid import Array, Grid, Mask
    from bids_qsmthal.qsm.acquisition import Acquisition
    from bids_qsmthal.qsm.background import Background
    from bids_qsmthal.qsm.reconstruction import Observed

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


def variants(  # noqa: PLR0913 - a scan, where it is, and what else is known
    magnitude: Array,
    phase_rad: Array,
    mask: Mask,
    grid: Grid,
    acquisition: Acquisition,
    *,
    settings: Reconstruction | None = None,
    fluid_probability: Array | None = None,
) -> Variants:
    """Return the maps of other background removals and the repeat on split echoes.

    The arguments are those of ``reconstruct``, whose map is the one compared with.

    Raises
    ------
    DataError
        If shapes disagree or the mask is empty.
    """
    chosen = settings or Reconstruction()
    seen = observe(
        *(magnitude, phase_rad, mask, grid, acquisition),
        settings=chosen,
        fluid_probability=fluid_probability,
    )
    others = {
        name: _susceptibility(seen, grid, replace(chosen, background=rival))
        for name, rival in RIVALS.items()
        if type(rival) is not type(chosen.background)
    }
    if len(acquisition.echo_times_s) < FEWEST_ECHOES:
        return Variants(backgrounds=others)
    signal = magnitude, phase_rad
    # Noise of the two halves is independent, so half of their difference has the noise of their
    # mean.
    odd, even = (
        _susceptibility(
            _with_field(seen, half_field(signal, seen, grid, acquisition, chosen, n)),
            grid,
            chosen,
        )
        for n in (0, 1)
    )
    return Variants(backgrounds=others, half_difference_ppm=(odd - even) / 2)


def half_field(
    signal: tuple[Array, Array],
    seen: Observed,
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
    found = chosen.fitting(magnitude, phase_rad, seen.field.mask, grid, own).frequency_hz
    turn_hz = np.float32(1 / np.diff(times_s).min())
    # A turn of the halved sampling is a smaller step in Hz than that of all echoes.
    turns = np.round((seen.total.frequency_hz - found) / turn_hz)
    return cast("Array", np.where(seen.field.mask, found + turns * turn_hz, 0).astype(np.float32))


def _with_field(seen: Observed, field_hz: Array) -> Observed:
    """Return the scan with another field: mask, weights and reference stay, so only noise moves."""
    return seen._replace(field=seen.field._replace(field_ppm=field_hz * seen.ppm_per_hz))


def _susceptibility(seen: Observed, grid: Grid, chosen: Reconstruction) -> Array:
    return solved(seen.field, grid, chosen)[1].chi_ppm
