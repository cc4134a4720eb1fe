"""Is a participant to be trusted: the checks of the number, of every registration, of anatomy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bids_qsmthal.anatomy import Normalisation, RigidRegistration
from bids_qsmthal.core.decision import Decision, worst
from bids_qsmthal.core.scan_warnings import (
    AlternationLeft,
    DistortionCorrectedApart,
    EchoPhaseIsNoise,
    FieldWithoutPhase,
    FrequencyOfAnotherField,
    FrequencyUnusable,
    InversionNotConverged,
    MagnitudeDisplaced,
    MagnitudeDistorted,
    MagnitudeFlipped,
    MainFieldByAlignment,
    NoVentricularCsf,
    OneEcho,
    PhaseCalledFiltered,
    PhaseIsNoise,
    PhaseLooksFiltered,
    PhaseMissing,
    PhaseScaleUnconfirmed,
    PhaseSignUnknown,
    PhaseSignUnusual,
    RegistrationNotSharp,
    ScanAfterContrast,
    SliceStepsLeft,
    TemplateRegistrationFailed,
)
from bids_qsmthal.report import sentences
from bids_qsmthal.roi import quality as roi_quality

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bids_qsmthal.anatomy import Rigid
    from bids_qsmthal.bids.dataset import UnusableScan
    from bids_qsmthal.core.scan_warnings import ScanWarning
    from bids_qsmthal.participant.relaxation import MagnitudeResults
    from bids_qsmthal.participant.structural import Structural
    from bids_qsmthal.participant.susceptibility import Susceptibility
    from bids_qsmthal.roi import Check

REGISTRATION_OF_GRE = "registration_MEGRE"
REGISTERED = {
    "registration_FLAIR": "FLAIR to T1w",
    "registration_ceT1w": "post-contrast T1w to T1w",
    REGISTRATION_OF_GRE: "gradient echo to T1w",
}
"""Which scan a check of registration is about, in the words of the page."""

COLUMNS = ("name", "value", "unit", "threshold", "verdict", "reason", "source")
"""Of the table of checks."""

DICTIONARY: Mapping[str, Any] = {
    "name": {"Description": "What was measured or looked for."},
    "value": {"Description": "The measured value; n/a where it is no number."},
    "unit": {"Description": "Unit of the value."},
    "threshold": {"Description": "The limits of the value, and what follows beyond them."},
    "verdict": {
        "Description": "What follows for the scan; the worst one is that of the participant.",
        "Levels": {"include": "use", "check": "look first", "exclude": "do not use"},
    },
    "reason": {"Description": "Why, where it is not include."},
    "source": {"Description": "Where the limits come from."},
}
"""The columns of the table of checks, for its sidecar."""

REGISTRATION_RULE = "the rule by which a registration counts as failed"
"""Where the limits of registrations come from."""


DOUBTFUL_NUMBER = (
    # Classes, not sentences: a text may be reworded without a change of the decision.
    *(PhaseIsNoise, EchoPhaseIsNoise, PhaseSignUnknown, PhaseSignUnusual),
    *(PhaseScaleUnconfirmed, PhaseCalledFiltered),
    *(FrequencyOfAnotherField, FrequencyUnusable, AlternationLeft, ScanAfterContrast),
    FieldWithoutPhase,
    *(PhaseLooksFiltered, DistortionCorrectedApart),
    *(MagnitudeDisplaced, MagnitudeDistorted, MagnitudeFlipped),
    *(MainFieldByAlignment, SliceStepsLeft, OneEcho, NoVentricularCsf, InversionNotConverged),
)
"""Warnings of a gradient echo after which its number may be wrong while every limit is kept: scale,
sign, field and contrast agent change the number as a whole, which no measure of quality shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRow:
    """One check of a participant as its table has it."""

    name: str
    value: float
    unit: str
    threshold: str
    decision: Decision
    reason: str
    source: str


def checks(
    structural: Structural,
    susceptibility: Susceptibility | None,
    unusable: Sequence[UnusableScan] = (),
    relaxation: MagnitudeResults | None = None,
) -> pd.DataFrame:
    """Return one row a check: those of the number first, then registrations and anatomy."""
    rows = [
        (
            *(row.name, row.value, row.unit, row.threshold),
            *(row.decision.value, row.reason, row.source),
        )
        for row in check_rows(structural, susceptibility, unusable, relaxation)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def decision(
    structural: Structural,
    susceptibility: Susceptibility | None,
    unusable: Sequence[UnusableScan] = (),
    relaxation: MagnitudeResults | None = None,
) -> Decision:
    """Return the worst of all checks; without a number at all, look first."""
    decisions = [
        row.decision for row in check_rows(structural, susceptibility, unusable, relaxation)
    ]
    if susceptibility is not None and susceptibility.regions is None:
        decisions.append(Decision.CHECK)
    return worst(decisions)


def check_rows(
    structural: Structural,
    susceptibility: Susceptibility | None,
    unusable: Sequence[UnusableScan] = (),
    relaxation: MagnitudeResults | None = None,
) -> tuple[CheckRow, ...]:
    """Return every check of a participant."""
    return (
        # The order of the table: what bears on the number stands first.
        *(_of_limit(check) for check in _measured(susceptibility, relaxation)),
        *(_of_unusable(scan) for scan in unusable),
        *_scan(susceptibility),
        *_without_phase(relaxation),
        *_registrations(structural, susceptibility or relaxation),
        *_anatomy(structural),
    )


def _measured(
    susceptibility: Susceptibility | None, relaxation: MagnitudeResults | None
) -> tuple[Check, ...]:
    """Return the measures with limits: of the thalamus, of the reconstruction, or of R2* alone."""
    if relaxation is not None and np.isfinite(relaxation.snr):
        return roi_quality.checks({"snr": relaxation.snr})
    if susceptibility is None:
        return ()
    if susceptibility.regions is not None:
        return susceptibility.regions.checks
    # A map without T1w or labels is used as well: noise must not pass for one.
    return roi_quality.checks(susceptibility.maps.quality)


def _of_limit(check: Check) -> CheckRow:
    return CheckRow(
        name=check.limit.name,
        value=check.value,
        unit=check.limit.unit,
        threshold=sentences.threshold(check.limit),
        decision=check.decision,
        reason=sentences.LIMITS[check.limit.name].text if check.warning else "",
        source=check.limit.source,
    )


def _of_unusable(scan: UnusableScan) -> CheckRow:
    return CheckRow(
        name="unusable_scan",
        value=float("nan"),
        unit="",
        threshold="",
        decision=Decision.CHECK,
        reason=sentences.sentence(scan.warning),
        source="the scan's own files",
    )


def _scan(susceptibility: Susceptibility | None) -> Iterator[CheckRow]:
    """Return what makes the number of a gradient echo, and its map, doubtful."""
    if susceptibility is None:
        return
    warnings = (*susceptibility.signal.warnings, *susceptibility.maps.warnings)
    # The same warning once, in the order in which they came.
    for warning in dict.fromkeys(warnings):
        if isinstance(warning, DOUBTFUL_NUMBER):
            yield _of_warning(warning)


def _without_phase(relaxation: MagnitudeResults | None) -> Iterator[CheckRow]:
    """Return what a reader must know of a gradient echo of magnitude alone."""
    for warning in relaxation.signal.warnings if relaxation is not None else ():
        if isinstance(warning, (PhaseMissing, ScanAfterContrast)):
            yield _of_warning(warning)


def _of_warning(warning: ScanWarning) -> CheckRow:
    return CheckRow(
        name="gradient_echo",
        value=float("nan"),
        unit="",
        threshold="",
        decision=Decision.CHECK,
        reason=sentences.sentence(warning),
        source="warning of the scan",
    )


def _registrations(
    structural: Structural, gre: Susceptibility | MagnitudeResults | None
) -> Iterator[CheckRow]:
    prepared = structural.prepared
    if prepared is not None and "template_correlation" in prepared.quality:
        yield _template(prepared.quality["template_correlation"])
    moving = {
        "registration_FLAIR": structural.flair_to_t1w,
        "registration_ceT1w": structural.ce_to_t1w,
        REGISTRATION_OF_GRE: gre.to_t1w if gre else None,
    }
    for name, rigid in moving.items():
        if rigid is not None:
            yield _rigid(name, rigid)


def _template(correlation: float) -> CheckRow:
    lowest = Normalisation().min_correlation
    failed = not correlation >= lowest  # also where it is not a number
    return CheckRow(
        name="registration_template",
        value=correlation,
        unit="correlation",
        threshold=f"check < {lowest:g}",
        decision=Decision.CHECK if failed else Decision.INCLUDE,
        reason="the registration of T1w to the template failed" if failed else "",
        source=REGISTRATION_RULE,
    )


def _rigid(name: str, rigid: Rigid) -> CheckRow:
    found = Decision.CHECK if rigid.failed else Decision.INCLUDE
    # Thalamus and reference of a gradient echo lie where the registration puts them.
    lost = any(isinstance(warning, RegistrationNotSharp) for warning in rigid.warnings)
    return CheckRow(
        name=name,
        value=rigid.quality["overlap"],
        unit="fraction",
        threshold=f"check < {RigidRegistration().min_overlap:g}, or no sharper than when shifted",
        decision=Decision.EXCLUDE if lost and name == REGISTRATION_OF_GRE else found,
        reason="; ".join(
            f"{REGISTERED[name]}, {sentences.sentence(warning)}" for warning in rigid.warnings
        ),
        source=REGISTRATION_RULE,
    )


def _anatomy(structural: Structural) -> Iterator[CheckRow]:
    """Return what is odd about the brain, the tissues and external labels."""
    own = structural.anatomy.warnings if structural.anatomy is not None else ()
    for warning in dict.fromkeys((*own, *structural.external_warnings)):
        # The registration to the template has a row of its own.
        if not isinstance(warning, TemplateRegistrationFailed):
            yield CheckRow(
                name="anatomy",
                value=float("nan"),
                unit="",
                threshold="",
                decision=Decision.CHECK,
                reason=sentences.sentence(warning),
                source="plausible range in its text",
            )
