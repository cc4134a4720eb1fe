"""Vendor conventions of the phase: chopped slices, sign, bipolar readouts, magnitudes.

What comes out is phase that grows with a positive frequency offset, so that paramagnetic tissue has
positive susceptibility.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

import numpy as np
from scipy import ndimage

from bids_qsmthal.core.scan_warnings import (
    AlternationLeft,
    EchoPhaseIsNoise,
    PhaseIsNoise,
    PhaseSignUnknown,
    PhaseSignUnusual,
    ScanWarning,
)
from bids_qsmthal.qsm import (
    bipolar,
    displacement,
    echo_constants,
    filtered,
    local_displacement,
    slices,
    storage,
)
from bids_qsmthal.qsm.csf import depth
from bids_qsmthal.qsm.field import ComplexFit
from bids_qsmthal.qsm.inversion import ThresholdedDivision
from bids_qsmthal.qsm.measurement import (
    Measurement,
    block_factors,
    block_mean,
    coarser_grid,
    complex_signal,
)
from bids_qsmthal.qsm.phase_mask import (
    NOISE_QUALITY,
    echo_qualities,
    noise_with_signal,
)
from bids_qsmthal.qsm.spherical import SphericalMean

if TYPE_CHECKING:
    from bids_qsmthal.core.grid import Array, Grid, Mask
    from bids_qsmthal.qsm.acquisition import Acquisition

log = logging.getLogger(__name__)

__all__ = [
    "Conventions",
    "Corrected",
    "PhaseReport",
    "brain_like",
    "complex_to_magnitude_phase",
    "corrected",
    "detect_chop",
    "detect_sign",
    "unchop",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conventions:
    """What is known of the scanner's conventions, and what the user insists on.

    Attributes
    ----------
    manufacturer
        BIDS ``Manufacturer``; empty where unknown.
    sign
        ``"auto"``, or 1 where the phase grows with a positive frequency offset, -1 where it falls.
    chop
        ``"auto"``, ``"yes"`` where every other slice is negated, or ``"no"``.
    bipolar
        ``"auto"``, or ``"no"`` to leave odd and even echoes as they are.
    filtered
        ``"auto"``, or ``"no"`` where the user says that the phase was not high-pass filtered.
    labels
        What the headers call the phase: ``ImageType`` and its kin.
    """

    manufacturer: str = ""
    sign: Literal["auto", 1, -1] = "auto"
    chop: Literal["auto", "yes", "no"] = "auto"
    bipolar: Literal["auto", "no"] = "auto"
    filtered: Literal["auto", "no"] = "auto"
    labels: tuple[str, ...] = ()


SignSource = Literal["user", "data", "manufacturer", "assumed"]
"""What decided on the sign of the phase."""

ChopSource = Literal["user", "data"]
"""What decided on the sign of every other slice."""


class PhaseReport(NamedTuple):
    """What was found and done, for the report.

    Attributes
    ----------
    sign
        Factor the phase was multiplied with.
    sign_source
        ``"user"``, ``"data"``, ``"manufacturer"`` or ``"assumed"``.
    sign_evidence
        Evidence of the data for sign 1 (positive) or -1 (negative); 0 where it was not looked at.
    chopped
        Whether every other slice was negated (and has been put right).
    chop_source
        ``"user"`` or ``"data"``.
    overflowed
        Number of magnitudes that had overflowed and were put right.
    not_finite
        Number of values that were not finite.
    warnings
        What the data leave in doubt.
    bipolar_rad
        Largest phase by which odd and even echoes were put right; 0 where readouts do not
        alternate.
    bipolar_left_rad
        Root mean square of the smooth alternation that is left; None for one or two echoes,
        which do not tell whether readouts alternate.
    echo_constant_rad
        Largest constant phase of a single echo that was taken out; 0 where there is none.
    slice_step_rad
        Phase of odd above even slices in the last echo that was taken out; 0 where there is none.
    """

    sign: int
    sign_source: SignSource
    sign_evidence: float
    chopped: bool
    chop_source: ChopSource
    overflowed: int
    not_finite: int
    warnings: tuple[ScanWarning, ...] = ()
    bipolar_rad: float = 0.0
    bipolar_left_rad: float | None = None
    echo_constant_rad: float = 0.0
    slice_step_rad: float = 0.0


class Corrected(NamedTuple):
    """Magnitude and phase in our convention, shape (x, y, z, echo), and what was done."""

    magnitude: Array
    phase_rad: Array
    report: PhaseReport


def complex_to_magnitude_phase(real: Array, imaginary: Array) -> tuple[Array, Array]:
    """Return magnitude and phase (rad) of a complex signal, float32.

    Raises
    ------
    DataError
        The parts were stored with an offset.
    """
    storage.check_parts(real, imaginary)
    magnitude = np.hypot(real, imaginary).astype(np.float32)
    return magnitude, np.arctan2(imaginary, real).astype(np.float32)


def detect_chop(magnitude: Array, phase_rad: Array) -> bool:
    """Tell whether every other slice (third axis) is negated.

    The angle between neighbouring slices, weighted with the signal, is near 0 without and near pi
    with chopping. The first echo is looked at: the field has had least time to turn the phase.
    """
    if magnitude.shape[2] < 2:
        return False
    first = magnitude[..., 0] if magnitude.ndim == 4 else magnitude
    angle = phase_rad[..., 0] if phase_rad.ndim == 4 else phase_rad
    # The cosine takes care of wraps.
    step = np.nan_to_num(angle[:, :, 1:] - angle[:, :, :-1])
    weight = np.nan_to_num(first[:, :, 1:] * first[:, :, :-1])
    agreement = (weight * np.cos(step)).sum(axis=(0, 1), dtype=np.float64)
    return bool(agreement.sum() < 0)


def unchop(phase_rad: Array) -> Array:
    """Return the phase with every other slice (third axis) turned by pi, in (-pi, pi]."""
    out = phase_rad.copy()
    odd = out[:, :, 1::2]
    out[:, :, 1::2] = odd - np.where(odd > 0, np.pi, -np.pi).astype(out.dtype)
    return out


LEAST_ABOVE_AIR = 2.2
"""Mean signal of the head over that of air: 2.5 and more at an SNR of 5 with the sensitivity of
eight coils, 7 and more at 15 without. Tissues among each other differ by at most 1.9 (heads of two
kinds)."""

LEAST_MASKED = 0.2
"""Of the voxels: so many are zero where the air was masked."""


def brain_like(magnitude: Array) -> Mask:
    """Return the bright inside of the head by a threshold (Otsu's), for checks without a mask."""
    first = _averaged(np.nan_to_num(magnitude[..., 0]))
    # Zeros are what a scanner masked: with them the threshold would fall between zero and air.
    positive = first[first > 0]
    if not positive.size:
        return np.zeros(first.shape, bool)
    counts, edges = np.histogram(positive, 256, (0, float(np.percentile(positive, 99.5))))
    middle = (edges[1:] + edges[:-1]) / 2
    below, above = np.cumsum(counts), counts.sum() - np.cumsum(counts)
    mean_below = np.cumsum(counts * middle) / np.maximum(below, 1)
    mean_above = ((counts * middle).sum() - np.cumsum(counts * middle)) / np.maximum(above, 1)
    best = int(np.argmax(below * above * (mean_below - mean_above) ** 2))
    # Where the air was masked, the threshold would part the tissues: all that is left is the head.
    masked = positive.size < (1 - LEAST_MASKED) * first.size
    masked &= bool(mean_above[best] < LEAST_ABOVE_AIR * mean_below[best])
    threshold = 0.0 if masked else middle[best]
    # Cuts thin bridges from brain to scalp, so that the largest part is mostly brain.
    opened = ndimage.binary_opening(first > threshold, iterations=2)
    labels, count = ndimage.label(opened)
    if not count:
        return np.zeros(first.shape, bool)
    largest = int(np.argmax(np.bincount(labels.ravel())[1:])) + 1
    return cast("Mask", ndimage.binary_fill_holes(labels == largest))


def _averaged(first: Array) -> Array:
    """Return the mean over 27 voxels, zeros aside: else noise would part a head into pieces.

    Eleven simulated heads (2 to 3 mm, SNR 6 to 98, coils, slabs): Dice with the brain at SNR 5 from
    .64-.90 to .80-.98, and at full signal nowhere lower than before.
    """
    there = first > 0
    share = ndimage.uniform_filter(there.astype(np.float32), 3)
    mean = ndimage.uniform_filter(first.astype(np.float32), 3)
    return cast("Array", np.where(there, mean / np.maximum(share, 1 / 27), 0))


def detect_sign(
    magnitude: Array, phase_rad: Array, mask: Mask, grid: Grid, acquisition: Acquisition
) -> float:
    """Return the evidence that phase grows (positive) or falls (negative) with frequency.

    A quick susceptibility map is made on a coarse grid. Iron and deoxygenated blood are strongly
    paramagnetic and the diamagnetic tissues are all weak, so deep in the brain the distribution has
    its long tail on the positive side; with the wrong sign, on the negative side. The value is the
    tail's asymmetry: (99.5th percentile + 0.5th - 2 medians) over their distance, -1 to 1. The
    signal must be finite.
    """
    factors = block_factors(grid, 2.0)
    small, inside = coarser_grid(grid, factors), block_mean(mask.astype(np.float32), factors) > 0.9
    times = acquisition.echo_times_s[:4]  # enough for a sign, and long echoes cost time
    # Complex means: averages of angles would be wrong at wraps.
    coarse = np.stack(
        [
            block_mean(complex_signal(magnitude[..., j], phase_rad[..., j]), factors)
            for j in range(len(times))
        ],
        axis=-1,
    )
    short = replace(acquisition, echo_times_s=times)
    inside &= (np.abs(coarse) > 0).all(axis=-1)
    if inside.sum() < 1000:
        return 0.0
    size, angle = np.abs(coarse).astype(np.float32), np.angle(coarse).astype(np.float32)
    total = ComplexFit()(size, angle, inside, small, short)
    noise = np.where(total.residual < 0.2, total.noise_hz, np.inf).astype(np.float32)
    nothing = np.zeros_like(inside)
    # In Hz instead of ppm: the sign of a tail does not depend on the unit.
    seen = Measurement(total.frequency_hz, noise, size[..., 0], inside, nothing)
    local = SphericalMean()(seen, small)
    seen = seen._replace(field_ppm=local.field_ppm, mask=local.mask)
    chi = ThresholdedDivision()(seen, small).chi_ppm
    # Near the rim, background that was not removed has tails of its own; where the mask is the
    # whole head, so have skull and sinuses.
    depth_mm = depth(local.mask, small)
    deep = depth_mm > max(LEAST_DEPTH_MM, float(depth_mm.max()) / 2)
    if deep.sum() < 1000:
        return 0.0
    low, middle, high = np.percentile(chi[deep], (0.5, 50, 99.5))
    return float((high + low - 2 * middle) / max(high - low, 1e-12))


LEAST_DEPTH_MM = 10.0
"""Iron lies in the deeper half of a head or brain, and at least so deep. A person (3 mm, 2.3 and
4.6 ms) whose scalp could not be told from the brain: evidence -0.18 beyond 10 mm of the head, 0.04
in its deeper half, 0.3 in the brain at any depth. Elsewhere the deeper half says what the whole
says: 0.35 for 0.11 in a second person, 0.3 to 0.5 in 21 simulated scans."""

LEAST_EVIDENCE = 0.1
"""Below this asymmetry of the tails the data do not tell the sign."""


def corrected(
    magnitude: Array,
    phase_rad: Array,
    grid: Grid,
    acquisition: Acquisition,
    conventions: Conventions,
    mask: Mask | None = None,
) -> Corrected:
    """Return magnitude and phase in our convention and a report of what was done.

    Parameters
    ----------
    magnitude, phase_rad
        Raw signal of each echo, shape (x, y, z, echo); see ``complex_to_magnitude_phase`` for
        real and imaginary parts and ``scaling`` for the phase's scale.
    grid, acquisition
        Sampling, direction of B0, echo times.
    conventions
        Manufacturer and overrides.
    mask
        The brain; found roughly from the magnitude when there is none.
    """
    bad = ~(np.isfinite(magnitude) & np.isfinite(phase_rad))
    not_finite = int(bad.sum())
    if not_finite:
        magnitude, phase_rad = np.where(bad, 0, magnitude), np.where(bad, 0, phase_rad)
    magnitude, overflowed = storage.repair_overflow(magnitude)
    inside = brain_like(magnitude) if mask is None else mask
    noise = _noise(magnitude, phase_rad, inside)
    if noise is not None:
        # In noise each detector below would find something.
        taken = _as_it_is(conventions, noise, overflowed, not_finite)
        phase_rad = unchop(phase_rad) if taken.chopped else phase_rad
        return Corrected(magnitude, phase_rad if taken.sign > 0 else -phase_rad, taken)
    # Order matters: chopped slices look like a field with steps, and sign and echoes are judged on
    # smooth phase only.
    chopped = conventions.chop == "yes"
    if conventions.chop == "auto":
        chopped = detect_chop(magnitude, phase_rad)
    if chopped:
        phase_rad = unchop(phase_rad)
    even = slices.corrected(magnitude, phase_rad, inside, acquisition)
    phase_rad = even.phase_rad
    # Before anything is taken out: the offset of the coils is a part of the evidence.
    label_doubt = filtered.check_not_filtered(
        *(magnitude, phase_rad, inside, grid, acquisition, conventions.labels),
        insisted=conventions.filtered == "no",
    )
    echoes = _one_line(magnitude, phase_rad, inside, grid, acquisition, conventions)
    phase_rad = echoes.phase_rad
    apart = _apart(magnitude, phase_rad, acquisition, inside)
    sign, evidence, sign_doubt = conventions.sign, 0.0, None
    source: SignSource = "user"
    if sign == "auto":
        evidence = detect_sign(magnitude, phase_rad, inside, grid, acquisition)
        sign, source, sign_doubt = _decide(evidence, conventions.manufacturer)
    report = PhaseReport(
        sign=sign,
        sign_source=source,
        sign_evidence=evidence,
        chopped=chopped,
        chop_source="data" if conventions.chop == "auto" else "user",
        overflowed=overflowed,
        not_finite=not_finite,
        warnings=tuple(
            doubt
            for doubt in (apart, label_doubt, *even.warnings, echoes.warning, sign_doubt)
            if doubt is not None
        ),
        bipolar_rad=echoes.bipolar_rad,
        bipolar_left_rad=echoes.bipolar_left_rad,
        echo_constant_rad=echoes.constant_rad,
        slice_step_rad=even.step_rad,
    )
    return Corrected(magnitude, phase_rad if sign > 0 else -phase_rad, report)


def _noise(
    magnitude: Array, phase_rad: Array, inside: Mask
) -> PhaseIsNoise | EchoPhaseIsNoise | None:
    """Return a warning where the phase of the head, or of an echo with signal, is noise."""
    qualities = echo_qualities(phase_rad, inside)
    if max(qualities) < NOISE_QUALITY:
        return PhaseIsNoise(max(qualities))
    bad = noise_with_signal(magnitude, inside, qualities)
    if not bad:
        return None
    names = ", ".join(str(echo + 1) for echo in bad)
    return EchoPhaseIsNoise(names, min(qualities[echo] for echo in bad))


def _as_it_is(
    conventions: Conventions,
    noise: PhaseIsNoise | EchoPhaseIsNoise,
    overflowed: int,
    not_finite: int,
) -> PhaseReport:
    """Return the report of a phase in which nothing can be looked for."""
    sign, source, _ = _decide(0.0, conventions.manufacturer)
    if conventions.sign != "auto":
        sign, source = conventions.sign, "user"
    return PhaseReport(
        sign=sign,
        sign_source=source,
        sign_evidence=0.0,
        chopped=conventions.chop == "yes",
        chop_source="data" if conventions.chop == "auto" else "user",
        overflowed=overflowed,
        not_finite=not_finite,
        warnings=(noise,),
    )


class _Echoes(NamedTuple):
    """The phase whose echoes follow one line, and what was taken out for that."""

    phase_rad: Array
    bipolar_rad: float = 0.0
    bipolar_left_rad: float | None = None
    constant_rad: float = 0.0
    warning: AlternationLeft | None = None


MOST_ALTERNATION_RAD = 0.05
"""An alternation that is left and larger is warned about: 0.5 rad of it cost 4.5 ppb at 2.5 mm."""


def _one_line(
    magnitude: Array,
    phase_rad: Array,
    mask: Mask,
    grid: Grid,
    acquisition: Acquisition,
    conventions: Conventions,
) -> _Echoes:
    """Take out what keeps the echoes from one line: alternating readouts, constants of echoes."""
    times = acquisition.echo_times_s
    if conventions.bipolar == "no":
        return _Echoes(phase_rad)
    phase_rad, bipolar_rad, left_rad = bipolar.corrected(magnitude, phase_rad, mask, grid, times)
    phase_rad, constant_rad = echo_constants.corrected(magnitude, phase_rad, mask, grid, times)
    warning = None
    if left_rad is not None and left_rad > MOST_ALTERNATION_RAD:
        warning = AlternationLeft(2 * left_rad)
    return _Echoes(phase_rad, bipolar_rad, left_rad, constant_rad, warning)


def _apart(
    magnitude: Array, phase_rad: Array, acquisition: Acquisition, mask: Mask
) -> ScanWarning | None:
    """Return a warning where magnitude and phase do not lie on each other, as a whole or in parts.

    The echoes are to lie on one line: what alternates from echo to echo would be taken for noise.
    """
    whole = displacement.check_aligned(magnitude[..., 0], phase_rad[..., 0])
    if whole is not None:
        return whole
    times_s = acquisition.echo_times_s
    return local_displacement.check_parts(magnitude, phase_rad, times_s, mask)


def _decide(
    evidence: float, manufacturer: str
) -> tuple[Literal[1, -1], SignSource, PhaseSignUnknown | PhaseSignUnusual | None]:
    """Return sign, its source, and a warning where data and manufacturer disagree."""
    name = manufacturer.strip().lower()
    # Conventions of vendors differ and change with reconstruction software, so data that are clear
    # win.
    known: Literal[0, 1, -1] = 0
    if "siemens" in name or "philips" in name:
        known = 1
    elif name in ("ge", "g.e.") or name.startswith("ge ") or "general electric" in name:
        known = -1
    if abs(evidence) < LEAST_EVIDENCE:
        if known:
            return known, "manufacturer", None
        return 1, "assumed", PhaseSignUnknown()
    seen: Literal[1, -1] = 1 if evidence > 0 else -1
    if known and known != seen:
        return seen, "data", PhaseSignUnusual(seen, evidence, manufacturer, known)
    return seen, "data", None
