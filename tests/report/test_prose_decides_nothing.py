"""Sentences are for people: no code of the package asks what one of them says."""

import ast
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import bids_qsmthal
from bids_qsmthal.anatomy import Rigid
from bids_qsmthal.core import scan_warnings, sources
from bids_qsmthal.core.scan_warnings import BeyondLimit
from bids_qsmthal.core.sources import Program, ProgramName
from bids_qsmthal.participant import quality
from bids_qsmthal.participant.structural import Structural
from bids_qsmthal.report import MethodsRun, RegionsRun, sentences, steps
from bids_qsmthal.roi import LIMITS, ReferenceLevel, ReferenceRegion, reference

PACKAGE = Path(bids_qsmthal.__file__).parent

PROSE = {
    *("text", "advice", "reason", "reasons", "message", "warning", "warnings", "sentence"),
    *("rung", "source", "label", "method_label", "description", "program", "title", "action"),
}
"""Names of attributes and columns that hold words for people, or did."""

ASKING = {
    *("split", "rsplit", "partition", "rpartition", "startswith", "endswith", "find", "index"),
    *("removeprefix", "removesuffix", "count", "search", "match", "fullmatch", "findall"),
    *("contains", "isin", "eq"),
}
"""What asks a text for what it says: methods of strings, patterns and columns."""


def prose(node: ast.expr) -> bool:
    """Say whether an expression is such an attribute or column, or a plain change of one."""
    if isinstance(node, ast.Attribute):
        if isinstance(node.value, ast.Name) and node.value.id == "self":
            return False  # a parser of its own text
        return node.attr in PROSE or (node.attr == "str" and prose(node.value))
    if isinstance(node, ast.Subscript):
        return isinstance(node.slice, ast.Constant) and node.slice.value in PROSE
    if isinstance(node, ast.Call):
        function = node.func
        if isinstance(function, ast.Name) and function.id == "str" and node.args:
            return prose(node.args[0])
        if isinstance(function, ast.Attribute) and function.attr in {"lower", "strip", "casefold"}:
            return prose(function.value)
    return False


def words(node: ast.expr) -> bool:
    """Say whether an expression is text written in the code."""
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(node.value)
    )


def asks(node: ast.AST) -> bool:
    """Say whether a piece of code decides something by what a sentence says."""
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        return any(map(prose, sides)) and any(map(words, sides))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        asked = node.func.attr in ASKING
        return asked and (prose(node.func.value) or any(map(prose, node.args)))
    if isinstance(node, ast.Subscript):
        called = node.value
        return isinstance(called, ast.Call) and asks(called)
    return False


def found_in(code: str) -> list[int]:
    return [node.lineno for node in ast.walk(ast.parse(code)) if asks(node)]


@pytest.mark.parametrize(
    "code",
    [
        'iron.regions.rung.split()[0] == "atria"',
        'source = item.source.split(" (")[0]',
        'if "failed" not in warning.text: pass',
        'number.method_label == "mean over the cortical ribbon"',
        "re.search(subject, notice.text)",
        'any(outcome.message == "killed" for outcome in outcomes)',
        'table["reason"].str.contains("vein")',
        'str(item.source).startswith("manual")',
        'found.program.lower() == "freesurfer"',
    ],
)
def test_asking_a_sentence_is_found(code: str) -> None:
    assert found_in(code)


@pytest.mark.parametrize(
    "code",
    [
        "source.maker is Maker.READER",
        "item.source == EDITED",
        'text.split("\\t")',
        'rows["reason"] != ""',
        "isinstance(warning, TemplateRegistrationFailed)",
    ],
)
def test_values_may_be_asked(code: str) -> None:
    assert not found_in(code)


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_decides_by_what_a_sentence_says(path: Path) -> None:
    assert found_in(path.read_text(encoding="utf-8")) == []


WORDS = (
    *("atria", "whole", "brain", "lateral", "global", "failed", "registration", "template"),
    *("manual", "edit", "seeds", "FreeSurfer", "lst_ai", "thalamus", "One echo", "include"),
    *("mean over the cortical ribbon", "nothing", "(", "; ", "overlap", "snr", "FLAIR", "ghost"),
)
"""What once decided something, in any order."""


def prepared_structural() -> Structural:
    """Return a head whose FLAIR registration failed and whose labels are odd."""
    apart = scan_warnings.BrainsDoNotOverlap(40, 85)
    return Structural(
        flair_to_t1w=Rigid(np.eye(4), {"overlap": 0.4}, (apart,)),
        ce_to_t1w=Rigid(np.eye(4), {"overlap": 0.97}),
        external_warnings=(
            scan_warnings.ThalamiElsewhere("fs", 10, 50),
            scan_warnings.TemplateRegistrationFailed(0.1, 0.6),
        ),
    )


def decisions() -> list[object]:
    """Return what is decided about warnings, checks, references and sources."""
    structural = prepared_structural()
    rows = quality.check_rows(structural, None)
    beyond = [BeyondLimit(limit.name, 1.0, limit.unit) for limit in LIMITS]
    program = Program(ProgramName.LST_AI, "any words")
    makers = [sources.OURS, sources.EDITED, sources.SEEDED, sources.dataset("a", program)]
    runs = [
        MethodsRun(regions=RegionsRun(reference=level, first_choice=ReferenceRegion.ATRIA))
        for level in (ReferenceLevel(region=region, step=1) for region in ReferenceRegion)
    ]
    runs += [MethodsRun(lesions=maker, enhancement=maker) for maker in makers]
    return [
        quality.decision(structural, None),
        [(row.name, row.decision) for row in rows],
        [sentences.notice(warning).action for warning in (*beyond, *structural.warnings)],
        [(step.name, step.choice) for run in runs for step in steps.steps(run)],
    ]


def reworded(rng: np.random.Generator) -> str:
    return " ".join(rng.choice(WORDS, 6, replace=False))


def reword_everything(patch: pytest.MonkeyPatch, words: Callable[[], str]) -> None:
    """Put other words in the place of every sentence and label."""
    for table in (sentences.WARNINGS, sentences.LIMITS):
        for key, wording in table.items():
            patch.setitem(table, key, sentences.Wording(words(), wording.advice))
    for table in (reference.LABELS, sources._LABELS):
        for key in table:
            patch.setitem(table, key, words())


@pytest.mark.parametrize("seed", range(10))
def test_every_decision_stays_when_every_sentence_is_reworded(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = decisions()
    text = sentences.sentence(scan_warnings.OneEcho())
    rng = np.random.default_rng(seed)
    reword_everything(monkeypatch, lambda: reworded(rng))
    assert sentences.sentence(scan_warnings.OneEcho()) != text
    assert decisions() == before
