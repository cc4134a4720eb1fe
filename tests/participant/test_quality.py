from types import SimpleNamespace

import numpy as np
import pytest

from bids_qsmthal.anatomy import Rigid
from bids_qsmthal.core import scan_warnings as of
from bids_qsmthal.core.decision import Decision
from bids_qsmthal.participant import quality
from bids_qsmthal.participant.structural import Structural

NOBODY = SimpleNamespace(
    prepared=None, flair_to_t1w=None, ce_to_t1w=None, anatomy=None, external_warnings=()
)


def scan(*warnings: of.ScanWarning, of_maps: tuple[of.ScanWarning, ...] = ()) -> SimpleNamespace:
    """Return a gradient echo whose every limit is kept."""
    return SimpleNamespace(
        signal=SimpleNamespace(warnings=warnings),
        maps=SimpleNamespace(warnings=of_maps),
        regions=SimpleNamespace(checks=()),
        to_t1w=None,
    )


@pytest.mark.parametrize(
    "warning",
    [
        of.PhaseIsNoise(quality=0.5),
        of.EchoPhaseIsNoise(echoes="2", quality=0.5),
        of.PhaseSignUnknown(),
        of.PhaseScaleUnconfirmed(turns=0.4),
        of.PhaseCalledFiltered(labels="M_SWI"),
        of.FrequencyOfAnotherField(frequency_mhz=63.9, its_field_t=1.5, stated_field_t=3.0),
        of.FrequencyUnusable(value="-1"),
        of.AlternationLeft(difference_rad=0.2),
        of.SliceStepsLeft(left_hz=0.6),
        of.PhaseLooksFiltered(slow_rad=0.1, slow_hz=0.8),
        of.DistortionCorrectedApart(magnitude="DIS2D", phase="ND"),
        of.ScanAfterContrast(agent="Gadovist"),
        of.OneEcho(),
        of.MainFieldByAlignment("sform"),
        of.NoVentricularCsf(),
        of.InversionNotConverged(),
    ],
)
def test_a_number_that_a_warning_makes_doubtful_is_never_included_without_a_look(
    warning: of.ScanWarning,
) -> None:
    for susceptibility in (scan(warning), scan(of_maps=(warning,))):
        assert quality.decision(NOBODY, susceptibility) is Decision.CHECK
        rows = quality.checks(NOBODY, susceptibility)
        assert rows["name"].tolist() == ["gradient_echo"]
        assert rows["reason"].str.len().gt(20).all()


def test_a_warning_that_leaves_the_number_as_it_is_does_not_ask_for_a_look() -> None:
    harmless = of.PhaseScaleByRange(low=-4096, high=4095), of.MainFieldAssumed(0, 0)
    assert quality.decision(NOBODY, scan(*harmless)) is Decision.INCLUDE
    assert quality.checks(NOBODY, scan(*harmless)).empty


@pytest.mark.parametrize(
    ("warning", "decision"),
    [
        (None, Decision.INCLUDE),
        (of.BrainsDoNotOverlap(80.0, 85.0), Decision.CHECK),
        (of.RegistrationNotSharp(4.0), Decision.EXCLUDE),
    ],
)
def test_a_gradient_echo_that_lies_elsewhere_than_t1w_is_left_out(warning, decision) -> None:
    found = Rigid(np.eye(4), {"overlap": 0.95}, (warning,) if warning else ())
    structural = Structural(flair_to_t1w=found)
    rows = quality.check_rows(structural, SimpleNamespace(**(vars(scan()) | {"to_t1w": found})))
    by_name = {row.name: row.decision for row in rows}
    assert by_name["registration_MEGRE"] is decision
    # Lesions of FLAIR can be looked at: only the numbers of the gradient echo are lost.
    assert by_name["registration_FLAIR"] is not Decision.EXCLUDE


@pytest.mark.parametrize(
    ("snr", "expected"), [(1.7, Decision.EXCLUDE), (12.0, Decision.CHECK), (60.0, Decision.INCLUDE)]
)
def test_r2star_of_magnitude_alone_is_judged_by_its_noise(snr: float, expected: Decision) -> None:
    relaxation = SimpleNamespace(signal=SimpleNamespace(warnings=()), to_t1w=None, snr=snr)
    assert quality.decision(NOBODY, None, relaxation=relaxation) is expected
