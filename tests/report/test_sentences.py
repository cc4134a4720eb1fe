"""Every warning has its sentence and advice, and nothing is decided by them."""

import dataclasses
import re
import typing

import pytest

from bids_qsmthal.app.options import main_parser
from bids_qsmthal.choices import CHOICES
from bids_qsmthal.core import scan_warnings
from bids_qsmthal.core.scan_warnings import BeyondLimit, ScanWarning
from bids_qsmthal.report import sentences, words
from bids_qsmthal.roi import LIMITS

EXAMPLES = {
    scan_warnings.BeyondLimit: BeyondLimit("snr", 12.345678, "1"),
    scan_warnings.BrainVolumeImplausible: scan_warnings.BrainVolumeImplausible(612.4, 900, 2200.5),
    scan_warnings.PhaseSignUnusual: scan_warnings.PhaseSignUnusual(1, 0.456, "GE", -1),
    scan_warnings.BrainLostToBackground: scan_warnings.BrainLostToBackground(0.204),
    scan_warnings.ThalamiElsewhere: scan_warnings.ThalamiElsewhere("fs", 12.6, 50.0),
    scan_warnings.NucleiUnresolved: scan_warnings.NucleiUnresolved(
        (("subthalamic_nucleus", "L"), ("pallidum_internal", "R")), 10
    ),
    scan_warnings.EnhancementReadDifferently: scan_warnings.EnhancementReadDifferently(
        present_in_table=True, count_in_images=0
    ),
}

SENTENCES = [
    "the magnitude of the gradient echo is noisy (signal-to-noise ratio of the first echo: 12.35)",
    "intracranial volume 612 mL, expected 900 to 2200.5 mL",
    "The data show a phase sign of +1 (evidence +0.46), but GE usually has -1. The sign of the "
    "data was used.",
    "20% of the brain mask was lost in background removal.",
    "the thalami of fs and of the registered atlas overlap by 13 %, expected at least 50 %: one of "
    "them is not where the thalami of this T1w are",
    "Too small to be measured, with fewer than 10 whole voxels of the gradient echo: left "
    "subthalamic nucleus, right pallidum, internal part.",
    "Enhancing lesions: the table of the dataset says present, the images show none. The table "
    "counts at group level.",
]

VALUES = {"int": 3, "float": 0.5, "str": "words", "bool": True}


def example(kind: type[ScanWarning]) -> ScanWarning:
    """Return a warning of a kind."""
    types = typing.get_type_hints(kind)
    if kind in EXAMPLES:
        return EXAMPLES[kind]
    values = {item.name: VALUES[types[item.name].__name__] for item in dataclasses.fields(kind)}
    return kind(**values)


KINDS = [
    kind
    for kind in vars(scan_warnings).values()
    if isinstance(kind, type) and issubclass(kind, ScanWarning) and kind is not ScanWarning
]


def test_every_kind_of_warning_has_words_and_there_are_no_others() -> None:
    assert set(sentences.WARNINGS) == set(KINDS)
    assert set(sentences.LIMITS) == {limit.name for limit in LIMITS}


DERIVED = {
    scan_warnings.EnhancementReadDifferently: {"table", "images"},
    scan_warnings.NucleiUnresolved: {"which", "voxels"},
    scan_warnings.BeyondLimit: {"reason", "called", "quantity"},
}
"""Words of a sentence that are made from the values of its warning."""


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_sentence_holds_every_value_of_its_warning(kind: type[ScanWarning]) -> None:
    assert "{" not in sentences.sentence(example(kind))
    named = set(re.findall(r"\{(\w+)", sentences.WARNINGS[kind].text))
    own = {item.name for item in dataclasses.fields(kind)}
    assert DERIVED.get(kind, own) <= named


@pytest.mark.parametrize(
    ("warning", "sentence"), list(zip(EXAMPLES.values(), SENTENCES, strict=True))
)
def test_sentences_read_as_they_should(warning: ScanWarning, sentence: str) -> None:
    assert sentences.sentence(warning) == sentence


NOTHING_TO_DO = {scan_warnings.ExternalMask}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_warning_comes_with_what_to_do(kind: type[ScanWarning]) -> None:
    assert bool(sentences.notice(example(kind)).action) is (kind not in NOTHING_TO_DO)


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_every_check_that_fails_comes_with_its_reason_and_what_to_do(limit) -> None:
    notice = sentences.notice(BeyondLimit(limit.name, 1.0, limit.unit))
    reason = sentences.LIMITS[limit.name].text
    assert notice.text[0].isupper()
    unit = "" if limit.unit in ("1", "fraction") else f" {limit.unit}"
    wanted = f"{reason} ({words.check(limit.name)}: 1{unit})"
    assert notice.text.lower() == wanted.lower()
    # What a reader sees has no key of a table in it.
    assert "_" not in notice.text
    assert notice.action


@pytest.mark.parametrize(
    ("warning", "names"),
    [
        (BeyondLimit("overlap", 0.6, "fraction"), "flicker"),
        (BeyondLimit("snr", 12, "1"), "magnitude"),
        (scan_warnings.FlairCoversPart(60), "lesion mask"),
        (scan_warnings.FlairNoisy(15), "lesion mask"),
        (scan_warnings.TissueNotConverged(), "tissue classes"),
        (scan_warnings.BrainAtImageEdge(2), "brain outline"),
        (scan_warnings.OneEcho(), "Export the other echoes"),
        (scan_warnings.PhaseSignUnknown(), "--phase-sign"),
        (scan_warnings.PhaseIsNoise(0.51), "phase image"),
        (scan_warnings.EchoPhaseIsNoise("3", 0.51), "that echo"),
        (scan_warnings.InversionNotConverged(), "streaks"),
    ],
)
def test_advice_is_about_what_the_warning_is_about(warning: ScanWarning, names: str) -> None:
    assert names in sentences.notice(warning).action


def test_advice_names_options_and_methods_that_there_are() -> None:
    known = {option for action in main_parser()._actions for option in action.option_strings}
    wordings = [*sentences.WARNINGS.values(), *sentences.LIMITS.values()]
    text = " ".join(wording.advice for wording in wordings)
    assert set(re.findall(r"--[a-z0-9-]+", text)) <= known
    for option, method in re.findall(r"(--inversion) ([a-z0-9]+)", text):
        assert method in CHOICES[option]
