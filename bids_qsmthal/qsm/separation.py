r"""Paramagnetic and diamagnetic susceptibility of a voxel, from QSM and R2*.

Iron adds to susceptibility and myelin takes from it; both make the signal decay. The model is

.. math:: \chi = \chi_+ - |\chi_-|, \qquad R_2^* = R_2 + D_r (\chi_+ + |\chi_-|)

with one relaxivity for both signs: what dephases is the size of a field and not its sign (Shin
2021, doi 10.1016/j.neuroimage.2021.118371). A gradient echo does not tell :math:`R_2`, the
irreversible part, from the rest. Where it was not measured it is taken from R2* itself, as Dimov
2022 does (doi 10.3390/tomography8030127), and the level of both maps is as good as that guess: 1/s
too much takes 3.6 ppb from the size of either source. Their difference is QSM and does not depend
on it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np

from bids_qsmthal.qsm.relaxation import MOST_R2STAR_HZ

if TYPE_CHECKING:
    from bids_qsmthal.core.grid import Array, Mask
    from bids_qsmthal.qsm.acquisition import Acquisition

RELAXIVITY_HZ_PER_PPM = 137.0
"""Of either source at 3 T, on the scale of maps of one head orientation (Shin 2021); 114 on that of
COSMOS (Kim 2025, doi 10.1002/hbm.70136). It grows in proportion to the field."""

FIELD_T = 3.0
"""Field at which all rates of this module hold."""

SAME_FIELD = 0.05
"""Scanners of 2.89 T are sold, and were measured, as 3 T."""

LEAST_SIGNAL = 0.25
"""Of what dephasing leaves in the last echo. Down to this the correction errs by less than 0.1/s
(decays of 10 to 50/s with 3, 4 and 11 echoes, ``tests/qsm/test_separation.py``); where less is
left, the first zero of the sinc is near, and what is fitted there is noise."""


VOXELS_AT_ONCE = 50_000
"""Of the correction: 11 echoes take some 30 MB."""


class IrreversibleRate(Protocol):
    """Anything that says how much of R2* is R2, in straight lines between corners."""

    @property
    def corners_hz(self) -> tuple[float, ...]:
        """R2* at 3 T where the lines begin and end, ascending from zero."""

    def __call__(self, r2star_hz: Array) -> Array:
        """Return R2 in 1/s, for rates at 3 T."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenLine:
    """R2 grows with R2* where water dilutes tissue, and slower with what iron and myelin add.

    Gray, white matter and thalamus decay with T2 of 70 to 90 ms and R2* of 16 to 20/s at 3 T
    (Stanisz 2005, doi 10.1002/mrm.20605; Wansapura 1999, J Magn Reson Imaging 9:531-538;
    Peters 2007, doi 10.1016/j.mri.2007.02.014): two thirds of it is R2. The pallidum has T2 of
    58 ms at 40/s: a fifth of what is beyond. Slopes by least squares over deep gray, cortex, white
    matter and lesions of such T2 (0.98/s rms; 0.87/s with a knee of 20/s). The knee lies where
    tissue with less iron than usual is still above it: below, a third of a lack of iron is taken
    for myelin and R2. Over people whose sources vary apart, myelin of the thalamus correlates with
    the truth by .93 (.89 with a knee of 20/s; ``benchmarks/separation.py``, seeds 2000 to 2015).
    """

    knee_hz: float = 18.0
    share: float = 0.68
    share_beyond: float = 0.22

    @property
    def corners_hz(self) -> tuple[float, ...]:
        """Zero, the knee, and more than any tissue has."""
        return 0.0, self.knee_hz, MOST_R2STAR_HZ

    def __call__(self, r2star_hz: Array) -> Array:
        """Return R2 in 1/s, for rates at 3 T."""
        below = np.minimum(r2star_hz, self.knee_hz)
        return cast("Array", self.share * below + self.share_beyond * (r2star_hz - below))


@dataclass(frozen=True, slots=True, kw_only=True)
class Proportional:
    """R2* is so many times R2', the same everywhere, in the manner of Dimov 2022.

    The source of the ratio of 1.9 could not be confirmed. By T2 and R2* of the literature (those of
    ``BrokenLine``) it is that of iron-rich nuclei, 1.8 in the pallidum and 2.0 in the putamen; gray
    and white matter and the thalamus have 2.8 to 3.5, which makes their sources too large.
    """

    ratio: float = 1.9

    @property
    def corners_hz(self) -> tuple[float, ...]:
        """Zero, and more than any tissue has."""
        return 0.0, MOST_R2STAR_HZ

    def __call__(self, r2star_hz: Array) -> Array:
        """Return R2 in 1/s, for rates at 3 T."""
        return r2star_hz * np.float32(1 - 1 / self.ratio)


@dataclass(frozen=True, slots=True, kw_only=True)
class R2StarSeparation:
    """Separation by R2*.

    Attributes
    ----------
    irreversible
        What R2 is taken for where no R2 was measured.
    relaxivity_hz_per_ppm
        Growth of R2' with the size of either source, at 3 T.
    """

    irreversible: IrreversibleRate = field(default_factory=BrokenLine)
    relaxivity_hz_per_ppm: float = RELAXIVITY_HZ_PER_PPM

    def __call__(
        self, chi_ppm: Array, r2star_hz: Array, field_t: float, *, r2_hz: Array | None = None
    ) -> Sources:
        """Return the sources of each voxel.

        Parameters
        ----------
        chi_ppm
            Susceptibility whose zero is that of fluid: there, both sources are zero.
        r2star_hz, r2_hz
            In 1/s, at ``field_t``; R2 where it was measured.
        """
        rest = self.assumed_r2_hz(r2star_hz, field_t) if r2_hz is None else r2_hz
        relaxivity = np.float32(self.relaxivity_hz_per_ppm * field_growth(field_t))
        size = (r2star_hz - rest) / relaxivity
        known = np.ones(chi_ppm.shape, np.bool_)
        return Sources(chi_ppm.astype(np.float32), size.astype(np.float32), known)

    def assumed_r2_hz(self, r2star_hz: Array, field_t: float) -> Array:
        """Return R2 of voxels of which R2* alone is known, both at ``field_t``.

        R2' grows in proportion to the field and R2 more slowly. So R2* at 3 T is looked up from
        R2* at the field; a straight line between the corners of the rule loses nothing.
        """
        reversible, irreversible = field_growth(field_t), r2_growth(field_t)
        corners = np.array(self.irreversible.corners_hz)
        assumed = self.irreversible(corners)
        at_field = reversible * (corners - assumed) + irreversible * assumed
        found = np.interp(r2star_hz, at_field, irreversible * assumed)
        return cast("Array", found.astype(np.float32))


SEPARATIONS: dict[str, R2StarSeparation | None] = {
    "none": None,
    "r2star": R2StarSeparation(),
    "proportional": R2StarSeparation(irreversible=Proportional()),
}


@dataclass(frozen=True, slots=True, eq=False)
class Sources:
    """Both sources of each voxel, by their difference and the sum of their sizes (ppm).

    ``size_ppm`` is as measured: noise and a wrong R2 can make it smaller than ``|chi_ppm|``, which
    no two sources can. Maps heed that in each voxel, means once for the region: clipping a noisy
    voxel and then averaging would make sources out of noise. Both are zero where not ``known``.
    """

    chi_ppm: Array
    size_ppm: Array
    known: Mask

    @property
    def paramagnetic_ppm(self) -> Array:
        """Of one sign, never negative."""
        return _halves(self.chi_ppm, self.size_ppm)[0]

    @property
    def diamagnetic_ppm(self) -> Array:
        """Of the other, never positive."""
        return _halves(self.chi_ppm, self.size_ppm)[1]

    def means_ppm(self, region: Mask) -> tuple[float, float]:
        """Return the means of both sources over a region that is not empty."""
        chi, size = (
            np.asarray(values[region].mean(dtype=np.float64))
            for values in (self.chi_ppm, self.size_ppm)
        )
        above, below = _halves(chi, size)
        return float(above), float(below)


def _halves(chi: Array, size: Array) -> tuple[Array, Array]:
    """Return the source of each sign; their sum is always the susceptibility."""
    together = np.maximum(size, np.abs(chi))
    return (together + chi) / 2, (chi - together) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceStack:
    """Slices that were excited one by one.

    Attributes
    ----------
    axis
        Of the image, across the slices.
    thickness
        Of a slice, as a share of the distance to the next; below 1 where there are gaps.
    """

    axis: int
    thickness: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decay:
    """How fast the signal of each voxel decays, and what else is known of it; shape (x, y, z).

    Attributes
    ----------
    r2star_hz
        R2* in 1/s; no value where it is not finite.
    total_field_hz
        Field of all sources.
    mask
        Where both were measured.
    r2_hz
        R2 in 1/s where it was measured, else not above zero; ``None`` without such a map.
    """

    r2star_hz: Array
    total_field_hz: Array
    mask: Mask
    r2_hz: Array | None = None

    @property
    def known(self) -> Mask:
        """Voxels whose sources can be told."""
        known: Mask = self.mask & np.isfinite(self.r2star_hz)
        if self.r2_hz is not None:
            # No mixture of measured and assumed R2: the border between them would look like
            # anatomy.
            known &= self.r2_hz > 0
        return known


def separated(
    chi_ppm: Array,
    decay: Decay,
    acquisition: Acquisition,
    *,
    method: R2StarSeparation,
    slices: SliceStack | None = None,
) -> Sources:
    """Return the sources of a scan.

    Parameters
    ----------
    chi_ppm
        Zero in fluid.
    slices
        Where slices were excited one by one, R2* loses what the gradient of the field across them
        has added; ``None`` for 3-D scans.
    """
    known = decay.known
    rate = np.where(known, decay.r2star_hz, 0)
    if slices is not None:
        added, kept = macroscopic_rate_hz(
            decay.total_field_hz, rate, known, slices, acquisition.echo_times_s
        )
        rate, known = rate - added, known & kept
    found = method(chi_ppm, rate, acquisition.effective_field_t, r2_hz=decay.r2_hz)
    return Sources(np.where(known, found.chi_ppm, 0), np.where(known, found.size_ppm, 0), known)


def field_growth(field_t: float) -> float:
    """Return how much faster sources make the signal decay than at 3 T: in proportion."""
    ratio = field_t / FIELD_T
    return 1.0 if abs(ratio - 1) < SAME_FIELD else ratio


T2_S = {1.5: 0.0823, 3.0: 0.0717, 7.0: 0.0467}
"""Of frontal and occipital gray and of white matter, mean (Cox 2010, doi 10.1002/mrm.22522), by
field in T."""


def r2_growth(field_t: float) -> float:
    """Return R2 as a multiple of that at 3 T; outside of 1.5 to 7 T as at the nearer end.

    With R2' in proportion to the field this gives R2* of gray and white matter, caudate and putamen
    at 1.5 and 7 T from that at 3 T to 5/s (Peters 2007, which no number here is fitted to); with
    both in proportion they would be off by up to 12/s.
    """
    if field_growth(field_t) == 1:
        return 1.0
    return T2_S[FIELD_T] / float(np.interp(field_t, list(T2_S), list(T2_S.values())))


def macroscopic_rate_hz(
    total_field_hz: Array,
    r2star_hz: Array,
    mask: Mask,
    slices: SliceStack,
    echo_times_s: tuple[float, ...],
) -> tuple[Array, Mask]:
    r"""Return what the gradient of the field across a slice adds to R2*, and where that is known.

    A slice of even profile loses :math:`\mathrm{sinc}(\Delta f\, t)` where the field changes by
    :math:`\Delta f` across it (Fernandez-Seara 2000, doi
    10.1002/1522-2594(200009)44:3<358::AID-MRM3>3.0.CO;2-I); the rate that it adds is the slope of
    that loss over the echoes with the weights of the fit. For slices that were excited one by one:
    an axis that k-space encodes loses nothing until the gradient has moved the echo out of the
    acquired part, and there this correction would be a mistake of the opposite sign.

    Parameters
    ----------
    total_field_hz, r2star_hz
        Field of all sources, and the rate that was fitted, both inside ``mask``.
    slices
        How the slices lie.

    Returns
    -------
    tuple
        Rate in 1/s, never more than ``r2star_hz``, and the voxels of ``mask`` whose last echo is
        strong enough (``LEAST_SIGNAL``).
    """
    # A gap between slices is not excited: nothing dephases there.
    step_hz = slices.thickness * _difference(total_field_hz, mask, slices.axis)[mask]
    times = np.asarray(echo_times_s, np.float64)
    rate = r2star_hz[mask].astype(np.float64)
    added = [
        # In parts: whole, a large scan of many echoes would take more than the inversion.
        _added(step_hz[part], rate[part], times)
        for part in np.array_split(np.arange(rate.size), 1 + rate.size // VOXELS_AT_ONCE)
    ]
    last = step_hz * times[-1]
    out, known = np.zeros(mask.shape, np.float32), np.zeros_like(mask)
    out[mask] = np.concatenate(added)
    # Beyond the first zero of the sinc the signal comes back, and means nothing.
    known[mask] = (np.abs(last) < 1) & (np.sinc(last) >= LEAST_SIGNAL)
    return out, known


def _added(step_hz: Array, rate_hz: Array, times_s: Array) -> Array:
    """Return what the change of the field across each voxel's slice has added to its rate."""
    left = np.maximum(np.abs(np.sinc(step_hz[:, None] * times_s)), 0.02)
    added = np.zeros_like(rate_hz)
    # The fit minimises the misfit d - m of decay and model, not of their logarithms: to second
    # order that is a line through ln(d/m) with weights m^1.5 d^0.5. Three rounds settle d to 0.1/s.
    fitted = np.exp(-1.5 * rate_hz[:, None] * times_s) * np.sqrt(left)
    for _ in range(3):
        weights = fitted * np.exp(-0.5 * (rate_hz - added)[:, None] * times_s)
        added = np.clip(_slope(-np.log(left), times_s, weights), 0, rate_hz)
    return added


def _difference(values: Array, mask: Mask, axis: int) -> Array:
    """Return the change from voxel to voxel along an axis, from neighbours in the mask alone."""
    field_, inside = np.moveaxis(values, axis, 0), np.moveaxis(mask, axis, 0)
    total, count = np.zeros(field_.shape, np.float32), np.zeros(field_.shape, np.float32)
    both = inside[1:] & inside[:-1]
    change = np.where(both, field_[1:] - field_[:-1], 0)
    for part in (np.s_[1:], np.s_[:-1]):
        total[part] += change
        count[part] += both
    return np.moveaxis(total / np.maximum(count, 1), 0, axis)


def _slope(values: Array, times: Array, weights: Array) -> Array:
    """Return the weighted slope of each row of values over the times."""
    whole = weights.sum(-1, keepdims=True)
    away = times - (weights * times).sum(-1, keepdims=True) / whole
    return cast("Array", (weights * away * values).sum(-1) / (weights * away**2).sum(-1))
