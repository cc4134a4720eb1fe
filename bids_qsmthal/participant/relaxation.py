"""A gradient echo of magnitude alone: R2* of the brain, and no susceptibility."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bids_qsmthal import qsm
from bids_qsmthal.core.image import resample
from bids_qsmthal.participant.gre_signal import Signal
from bids_qsmthal.participant.pipeline import GRE_TO_T1W, RELAXATION
from bids_qsmthal.participant.structural import registered
from bids_qsmthal.participant.susceptibility import brain_of

if TYPE_CHECKING:
    from bids_qsmthal.anatomy import Rigid
    from bids_qsmthal.core.image import Image
    from bids_qsmthal.participant.gre_signal import MagnitudeSignal
    from bids_qsmthal.participant.input_checks import LoadedInputs
    from bids_qsmthal.participant.runner import Runner
    from bids_qsmthal.participant.structural import Structural
    from bids_qsmthal.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MagnitudeResults:
    """What came out of a gradient echo without phase.

    Attributes
    ----------
    combined
        Root sum of squares of the echoes.
    r2star_hz
        R2* in 1/s, zero outside the brain.
    to_t1w
        ``None`` without T1w.
    snr
        Signal-to-noise ratio of the first echo; NaN with two echoes.
    """

    signal: MagnitudeSignal
    combined: Image
    brain: Image
    r2star_hz: Image
    to_t1w: Rigid | None
    snr: float


def relaxation_results(
    inputs: LoadedInputs, settings: Settings, runner: Runner, structural: Structural
) -> MagnitudeResults | None:
    """Return R2* of a gradient echo of magnitude alone; ``None`` for any other."""
    if inputs.signal is None or not runner.runs(RELAXATION):
        return None
    signal, external = inputs.signal.loaded, inputs.external
    if isinstance(signal, Signal):
        return None
    combined = signal.combined
    to_t1w = (
        registered(GRE_TO_T1W, structural.prepared, combined, settings, runner)
        if structural.prepared
        else None
    )
    brain = brain_of(combined, structural, to_t1w.matrix if to_t1w else np.eye(4), runner, external)
    fitted = runner.run(
        RELAXATION,
        qsm.r2star_map,
        signal.magnitude,
        brain,
        signal.series.acquisition.echo_times_s,
        settings.reconstruction.relaxation,
    )
    snr = qsm.decay_snr(signal.magnitude, brain, fitted, signal.series.acquisition.echo_times_s)
    if "r2star" in external:
        fitted = resample(external["r2star"].image, combined)
    return MagnitudeResults(
        signal=signal, combined=combined, brain=brain, r2star_hz=fitted, to_t1w=to_t1w, snr=snr
    )
