import re

import pytest

from bids_qsmthal.app.options import main_parser
from bids_qsmthal.choices import CHOICES
from bids_qsmthal.participant.advice import ADVICE, notice
from bids_qsmthal.roi import LIMITS


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_every_check_that_fails_comes_with_what_to_do(limit) -> None:
    assert notice(f"{limit.reason} ({limit.name} = 1 {limit.unit})").action


@pytest.mark.parametrize(
    ("warning", "names"),
    [
        ("GRE and T1w brain do not overlap (overlap = 0.6 fraction)", "flicker"),
        ("the GRE magnitude is noisy (snr = 12 1)", "magnitude"),
        ("FLAIR covers only 60 % of the brain", "lesion mask"),
        ("tissue classification did not converge", "tissue classes"),
        ("the brain reaches 2 of the 6 faces of the image", "brain outline"),
        ("One echo: no R2*, no CSF reference.", "export the other echoes"),
        ("lesion signal is low", "lesion mask"),
    ],
)
def test_advice_is_about_what_the_warning_is_about(warning: str, names: str) -> None:
    assert names in notice(warning).action


def test_advice_names_options_and_methods_that_there_are() -> None:
    known = {option for action in main_parser()._actions for option in action.option_strings}
    text = " ".join(action for _, action in ADVICE)
    assert set(re.findall(r"--[a-z-]+", text)) <= known
    for option, method in re.findall(r"(--inversion) ([a-z0-9]+)", text):
        assert method in CHOICES[option]


def test_a_warning_that_nothing_is_known_about_stays_as_it_is() -> None:
    assert notice("The moon is full.").action == ""
