"""Scans spoilt on purpose are flagged, and the same scans unspoilt are not."""

import numpy as np
import pytest

from bids_qsmthal import roi
from bids_qsmthal.core.decision import Decision, worst
from bids_qsmthal.qsm import Grid, ghost_to_signal
from bids_qsmthal.qsm.field import ComplexFit
from bids_qsmthal.roi.quality import checks
from bids_qsmthal.simulate.corruption import random_motion, with_motion
from tests.qsm import phantoms

pytestmark = pytest.mark.slow

GRID = Grid((96, 110, 24), (2.0, 2.0, 4.0), (0.0, 0.28, 0.96))


def verdict(**measured):
    return worst(check.decision for check in checks(measured))


@pytest.mark.parametrize(
    ("motion_mm", "expected"),
    [(0.0, {"include"}), (0.8, {"check", "exclude"}), (2.4, {"exclude"})],
)
def test_a_head_that_moved_is_flagged_by_its_ghosts(motion_mm, expected):
    brain = phantoms.ball(GRID, 62, stretch=(0.95, 1.15, 2.0))
    places, order = random_motion(motion_mm / 2.0, 110, np.random.default_rng(4))
    signal = with_motion(brain.astype(np.complex64), places, order=order)
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((*GRID.shape, 2)) @ np.array([1, 1j]) / 60
    magnitude = np.abs(signal + noise).astype(np.float32)

    assert verdict(ghost=ghost_to_signal(magnitude, brain, GRID)) in expected


@pytest.mark.parametrize(
    ("snr", "expected"), [(100.0, {"include"}), (8.0, {"check"}), (1.5, {"exclude"})]
)
def test_a_noisy_scan_is_flagged_by_its_signal_to_noise_ratio(snr, expected):
    scan = phantoms.head()
    magnitude, angle = scan.signal(snr=snr)

    found = ComplexFit()(magnitude, angle, scan.mask, scan.grid, scan.acquisition)

    assert verdict(snr=found.snr) in expected


@pytest.mark.parametrize("side", [1, 2])
@pytest.mark.parametrize(
    ("share", "expected"), [(0.04, "include"), (0.3, "check"), (0.8, "exclude")]
)
def test_a_hole_in_the_phase_of_one_thalamus_is_flagged(head, side, share, expected):
    whole = roi.measure(head.inputs())
    labelled = np.asarray(whole.masks["thalamus_labelled"].data) == side
    assert share_without_phase(head, labelled, share, "thalamus_without_phase") == expected


@pytest.mark.parametrize(
    ("share", "expected"), [(0.04, "include"), (0.3, "check"), (0.8, "exclude")]
)
def test_a_hole_in_the_phase_of_the_reference_is_flagged(head, share, expected):
    whole = roi.measure(head.inputs())
    reference = np.asarray(whole.masks["reference"].data) > 0
    assert share_without_phase(head, reference, share, "reference_without_phase") == expected


def share_without_phase(head, region, share, name):
    """Say what a phase of noise in a share of a region makes of the scan."""
    known = np.ones(head.chi_ppm.shape, bool)
    places = np.argwhere(region)
    known[tuple(places[: round(share * len(places))].T)] = False
    found = roi.measure(head.inputs(phase_known=head.chi_ppm.like(known)))
    check = next(one for one in found.checks if one.limit.name == name)
    assert check.value == pytest.approx(share, abs=0.01)
    return check.decision.value


def test_a_mask_that_ends_in_the_thalamus_is_flagged(head):
    whole = roi.measure(head.inputs())
    mask = np.ones(head.chi_ppm.shape, dtype=bool)
    mask[:, :, head.chi_ppm.shape[2] // 2 :] = False

    cut = roi.measure(head.inputs(qsm_mask=head.chi_ppm.like(mask)))

    def of(result):
        return next(one for one in result.checks if one.limit.name == "thalamus_lost_to_mask")

    assert of(whole).decision is Decision.INCLUDE
    assert of(cut).decision in {Decision.CHECK, Decision.EXCLUDE}
    assert worst(check.decision for check in cut.checks) is not Decision.INCLUDE
