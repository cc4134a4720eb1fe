"""A total field that another program made, in the place of the fit of the echoes."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

import numpy as np

from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.image import Image, resample
from bids_qsmthal.core.scan_warnings import FieldWithoutPhase, PhaseMissing
from bids_qsmthal.participant.gre_signal import MagnitudeSignal, Signal
from bids_qsmthal.qsm import filtered, phase
from bids_qsmthal.qsm.field import GivenField, agreement

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from bids_qsmthal.bids.external import External
    from bids_qsmthal.core.grid import Mask
    from bids_qsmthal.core.scan_warnings import ScanWarning
    from bids_qsmthal.settings import Settings

KEY = "total_field"


def with_phase(signal: MagnitudeSignal, external: Mapping[str, External]) -> Signal | None:
    """Return a scan with its phase, or with that of an external field where it has none.

    Such a phase says nothing that the field does not say. It lets the same functions judge and use
    both kinds of scan. ``None`` where there is neither phase nor field.
    """
    if isinstance(signal, Signal):
        return signal
    if KEY not in external:
        return None
    given_hz = resample(external[KEY].image, signal.combined).data
    times_s = np.asarray(signal.series.acquisition.echo_times_s, np.float32)
    turned = np.exp(2j * np.pi * given_hz[..., None] * times_s)
    return Signal(
        series=signal.series,
        magnitude=signal.magnitude,
        phase_rad=signal.magnitude.like(np.angle(turned).astype(np.float32)),
        report=None,
        warnings=warnings(signal.warnings, external),
    )


def warnings(found: tuple[ScanWarning, ...], external: Collection[str]) -> tuple[ScanWarning, ...]:
    """Return the warnings of a scan, heeding that a given field stands in for a missing phase."""
    if KEY not in external:
        return found
    return tuple(FieldWithoutPhase() if one == PhaseMissing() else one for one in found)


def check(
    signal: MagnitudeSignal | None, external: Mapping[str, External], settings: Settings
) -> None:
    """Raise where an external total field cannot be that of a scan; nothing is computed before.

    Where the head is, its brightness says, as it does for the phase.

    Raises
    ------
    DataError
        It does not explain the phase of the echoes; without phase, it cannot be the total field of
        a head.
    """
    if KEY not in external or signal is None:
        return
    scan = with_phase(signal, external)
    assert scan is not None  # noqa: S101 - there is a field
    path = str(external[KEY].file.path)
    given_hz = resample(external[KEY].image, scan.combined).data
    # Programs write zero where they did not look.
    known = phase.brain_like(scan.magnitude.data) & (given_hz != 0)
    if scan.report is None:
        _check_alone(path, scan, known, settings)
    else:
        _check_explains_phase(path, given_hz, scan, known)


def with_field(
    settings: Settings, signal: Signal, brain: Image, external: Mapping[str, External]
) -> tuple[Settings, Image]:
    """Put an external total field in the place of the fit, and where it is known that of the brain.

    Whether it can be that of the scan was looked at when both were read (``check``).
    """
    if KEY not in external:
        return settings, brain
    given_hz = resample(external[KEY].image, brain).data
    known = (brain.data > 0) & (given_hz != 0)
    plain = settings.reconstruction.fitting
    own = {item.name: getattr(plain, item.name) for item in fields(plain)}
    fitting = GivenField(**own, frequency_hz=given_hz, has_phase=signal.report is not None)
    reconstruction = replace(settings.reconstruction, fitting=fitting)
    return replace(settings, reconstruction=reconstruction), brain.like(known)


def _check_explains_phase(path: str, given_hz: np.ndarray, signal: Signal, known: Mask) -> None:
    scan = signal.magnitude.data, signal.phase_rad.data, known, signal.series.acquisition
    fits = agreement(given_hz, *scan) if known.any() else 0.0
    if fits <= 0:
        raise DataError(
            f"{path}: this field explains the phase of the echoes no better than its negative, no "
            f"field, or the same values read as ppm or rad/s ({fits:.2f}, expected above 0): give "
            "the field of this scan in Hz, positive where the phase grows; if the field is right, "
            "reverse the sign of the phase with --phase-sign."
        )


def _check_alone(path: str, signal: Signal, known: Mask, settings: Settings) -> None:
    """Raise where a field that no phase confirms cannot be the total field (Hz) of a head.

    What the head itself shows is looked at: that a main field is never even over it, and that iron
    and blood lie on the positive side. A field in rad/s passes.
    """
    arrays = signal.magnitude.data, signal.phase_rad.data, known, signal.magnitude.grid
    acquisition = signal.series.acquisition
    try:
        filtered.check_not_filtered(*arrays, acquisition, insisted=settings.phase_filter == "no")
    except DataError as error:
        raise DataError(
            f"{path}: this field hardly changes over the head, where a total field has tens of "
            "Hz: it is a local field, without its background, or in ppm; give the total field in "
            "Hz. If you know that it is the total field in Hz, use --phase-filter no."
        ) from error
    evidence = phase.detect_sign(*arrays, acquisition)
    if settings.phase_sign == "auto" and evidence < -phase.LEAST_EVIDENCE:
        raise DataError(
            f"{path}: in this field iron and blood look diamagnetic (asymmetry {evidence:.2f}, "
            f"expected above {-phase.LEAST_EVIDENCE:g}): give the field in Hz, positive where "
            "protons precess faster; if you know that it is so, use --phase-sign +1."
        )
