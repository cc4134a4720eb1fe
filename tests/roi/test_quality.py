import numpy as np
import pytest

from bids_qsmthal.roi import LIMITS, Limit, quality

LIMIT = Limit(
    name="level",
    unit="ppb",
    check=(0.0, 10.0),
    exclude=(-5.0, 20.0),
    reason="the level is off",
    source="a book",
)


@pytest.mark.parametrize(
    ("value", "verdict"),
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
def test_a_value_is_included_checked_or_excluded_by_its_limits(value, verdict):
    table, overall = quality({"level": value}, limits=(LIMIT,))

    assert table["verdict"].item() == overall == verdict
    assert (table["reason"].item() == "") == (verdict == "include")


def test_the_worst_verdict_decides():
    other = Limit(name="other", unit="1", check=(0, 1), reason="other is off", source="a book")

    _, overall = quality({"level": 30.0, "other": 0.5}, limits=(LIMIT, other))

    assert overall == "exclude"


def test_what_was_not_taken_is_not_judged():
    table, overall = quality({"unknown": 3.0}, limits=(LIMIT,))

    assert table.empty
    assert overall == "include"


def test_every_limit_has_a_reason_and_a_source_and_excludes_less_than_it_checks():
    assert len({limit.name for limit in LIMITS}) == len(LIMITS)
    for limit in LIMITS:
        assert limit.reason
        assert limit.source
        assert limit.exclude[0] <= limit.check[0] < limit.check[1] <= limit.exclude[1]
