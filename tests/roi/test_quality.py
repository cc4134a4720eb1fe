import numpy as np
import pytest

from bids_qsmthal.core.decision import SEVERITY, Decision, worst
from bids_qsmthal.core.scan_warnings import BeyondLimit
from bids_qsmthal.report import sentences
from bids_qsmthal.roi import LIMITS, Limit, checks

LIMIT = Limit(
    name="level",
    unit="ppb",
    check=(0.0, 10.0),
    exclude=(-5.0, 20.0),
    source="a book",
)


@pytest.mark.parametrize(
    ("value", "decision"),
    [
        (5.0, "include"),
        (0.0, "include"),
        (-1.0, "check"),
        (11.0, "check"),
        (-6.0, "exclude"),
        (21.0, "exclude"),
        (np.nan, "check"),
        (np.inf, "check"),
    ],
)
def test_a_value_is_included_checked_or_excluded_by_its_limits(value, decision):
    (check,) = checks({"level": value}, limits=(LIMIT,))

    assert check.decision == decision
    beyond = None if decision == "include" else BeyondLimit("level", value, "ppb")
    assert check.warning == beyond


def test_the_worst_decision_counts():
    assert SEVERITY == ("include", "check", "exclude")
    assert worst([Decision.CHECK, Decision.EXCLUDE, Decision.INCLUDE]) is Decision.EXCLUDE
    assert worst([Decision.INCLUDE, Decision.CHECK]) is Decision.CHECK
    assert worst([]) is Decision.INCLUDE


def test_what_was_not_taken_is_not_judged():
    assert checks({"unknown": 3.0}, limits=(LIMIT,)) == ()


def test_every_limit_has_a_source_and_excludes_less_than_it_checks():
    assert len({limit.name for limit in LIMITS}) == len(LIMITS)
    for limit in LIMITS:
        assert limit.source
        assert limit.exclude[0] <= limit.check[0] < limit.check[1] <= limit.exclude[1]


def test_limits_are_written_as_the_values_beyond_them():
    assert sentences.threshold(LIMIT) == "check < 0; check > 10; exclude < -5; exclude > 20"
    one_sided = Limit(name="snr", unit="1", check=(20.0, np.inf), source="a book")
    assert sentences.threshold(one_sided) == "check < 20"


@pytest.mark.parametrize(("step", "decision"), [(2, Decision.INCLUDE), (5, Decision.CHECK)])
def test_a_reference_outside_of_the_atria_is_checked(step, decision) -> None:
    (found,) = checks({"reference_step": float(step)})
    assert found.decision is decision


@pytest.mark.parametrize(
    ("name", "value", "decision"),
    [
        ("acquired_voxel_mm3", 2.0**3, Decision.INCLUDE),
        ("acquired_voxel_mm3", 0.75 * 0.75 * 3, Decision.INCLUDE),
        ("acquired_voxel_mm3", 2.5**3, Decision.CHECK),
        ("rim_bone_share", 0.008, Decision.INCLUDE),
        ("rim_bone_share", 0.03, Decision.CHECK),
        ("field_noise_per_ml_ppb", 0.1, Decision.INCLUDE),
        ("field_noise_per_ml_ppb", 0.3, Decision.CHECK),
        ("field_noise_per_ml_ppb", 0.5, Decision.EXCLUDE),
    ],
)
def test_coarse_voxels_bone_in_the_mask_and_a_noisy_phase_are_named(
    name: str, value: float, decision: Decision
) -> None:
    (found,) = checks({name: value})
    assert found.decision is decision
    warning = found.warning
    if decision is Decision.INCLUDE:
        assert warning is None
    else:
        assert warning is not None
        said = sentences.notice(warning).text
        words = {"rim_bone_share": "holds bone", "acquired_voxel_mm3": "coarse"}
        assert words.get(name, "usable as zero") in said


@pytest.mark.parametrize(("holds", "decision"), [(1, Decision.INCLUDE), (0, Decision.EXCLUDE)])
def test_a_number_against_the_whole_brain_for_want_of_csf_is_left_out(holds, decision) -> None:
    (found,) = checks({"reference_holds_csf": float(holds)})
    assert found.decision is decision
