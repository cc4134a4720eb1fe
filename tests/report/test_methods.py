import re

import pytest

from bids_qsmthal.qsm import BACKGROUNDS, INVERSIONS, UNWRAPPINGS
from bids_qsmthal.report import methods
from bids_qsmthal.report.methods import methods_text


def test_only_what_ran_is_named_and_cited() -> None:
    text, bibtex = methods_text({"background": "pdf", "inversion": "medi0"})
    assert "projection onto dipole fields [1]" in text
    assert "MEDI+0) [2, 3]" in text
    assert "R2*" not in text
    assert "deepbet" not in text
    assert re.findall(r"@article\{(\w+),", bibtex) == ["liu2011", "liu2012", "liu2018"]


def test_references_are_numbered_as_first_cited_and_not_twice() -> None:
    described = methods.describe({"inversion": "medi", "field_fit": "nonlinear"})
    assert [work.key for work in described.references] == ["liu2013", "liu2012"]
    assert "[2, 1]" in described.paragraphs[0].text


def test_an_unknown_method_is_named_without_a_citation() -> None:
    text, bibtex = methods_text({"background": "mine"})
    assert "Background: mine." in text
    assert bibtex == ""


def test_nothing_ran_gives_no_claim() -> None:
    assert methods.describe({}).paragraphs == ()


def test_every_work_cited_anywhere_is_in_the_bibliography_with_an_identifier() -> None:
    works = methods._bibliography()
    text = methods.source("methods.yaml").replace("[@key]", "")
    cited = set(re.findall(r"@(\w+)", text))
    assert cited <= set(works)
    assert set(works) <= cited
    for work in works.values():
        assert re.search(r"https://doi\.org/10\.\d{4,}/\S+$", work.formatted), work.formatted
        assert "{" not in work.formatted


@pytest.mark.parametrize(
    ("step", "known"),
    [("unwrapping", UNWRAPPINGS), ("background", BACKGROUNDS), ("inversion", INVERSIONS)],
)
def test_every_method_of_the_reconstruction_has_its_sentence(step: str, known: dict) -> None:
    for name in known:
        (paragraph,) = methods.describe({step: name}).paragraphs
        assert not paragraph.text.startswith(step.capitalize() + ":"), name


def test_values_of_the_scan_are_in_the_text() -> None:
    text, _ = methods_text({"echoes": "1", "echo_times_ms": "20", "field_strength_t": "3"})
    assert "had 1 echo (TE 20 ms) at 3 T." in text
