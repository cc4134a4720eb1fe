"""Formulas and filters: what they mean, and that nothing of them is ever run."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import formulaic
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bids_qsmthal.core.errors import QsmthalError, UsageError
from bids_qsmthal.statistics import calls, design, expressions, formulas
from bids_qsmthal.statistics.levels import Level, Vocabulary

ENDLESS_S = 60.0
"""CPU time after which an answer counts as never given. What these formulas and filters would
expand to takes hours; a garbage collection in a busy test process takes a second."""

SEX: Vocabulary = {
    "sex": {"female": Level(0.0, ("f", "female")), "male": Level(1.0, ("m", "male"))},
    "arm": {"none": Level("none", ("0", "none")), "drug": Level("drug", ("1", "drug"))},
}


def people() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    return pd.DataFrame(
        {
            "y": rng.uniform(1, 3, 24),
            "x": rng.uniform(1, 2, 24),
            "age": rng.uniform(20, 70, 24),
            "sex": np.tile([0.0, 1.0], 12),
            "arm": ["none", "drug", "drug"] * 8,
        }
    )


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ x", "log( y ) ~ x*age + C(sex):x - 1", "y ~ (x+age+sex)**2 / arm", "y ~ -1 + x",
        "y ~ x:age*sex", "y ~ x/(age+sex)", "y ~ cr(age, df=3, constraints='center') + x",
        "y ~ poly(x, 2) + bs(age,5)", "y ~ I(x**2 - 1) + 0", "y ~ x*(age+sex):arm - x", "y ~ 1",
        "y ~ (x + age) - (age + 1)", "y ~ center(log(x)):scale(age)", "y ~ x**3 + age",
    ],
)  # fmt: skip
def test_what_is_printed_from_the_tree_means_what_was_written(formula: str) -> None:
    printed = formulas.parse(formula).text
    assert formulaic.Formula(printed) == formulaic.Formula(formula)
    assert formulas.parse(printed).text == printed
    written = formulaic.model_matrix(formula, people(), output="pandas")
    made = design.build(formula, people())
    assert list(made.names) == list(written.rhs.columns)
    np.testing.assert_array_equal(made.predictors, written.rhs.to_numpy(dtype=float))


@pytest.mark.parametrize(
    ("formula", "reason"),
    [
        ("y ~ x.__class__", "cannot be read from '.__class__' on"),
        ("y ~ __import__('os').system('true')", "not one of the functions"),
        ("y ~ x[0]", "character '['"), ("y ~ (lambda: 1)()", "cannot be the name"),
        ("y ~ {x}", "character '{'"), ("y ~ open('x')", "'open' is not one of the functions"),
        ("y ~ [x for x in y]", "character '['"), ("y ~ `x`", "character '`'"),
        ("y ~ x # y", "character '#'"), ("y ~ x \\\n + y", "character '\\\\'"),
        ("y ~ x\n+ y", "character '\\n'"), ("y ~ x %in% y", "character '%'"),
        ("y", "expected 'outcome ~ predictors'"), ("y ~ x ~ z", "expected 'outcome"),
        ("~ x", "expected 'outcome"), ("y ~ x | age", "character '|'"),
        ("y ~ I('text')", "is not arithmetic"),
        ("y ~ \N{FULLWIDTH LATIN SMALL LETTER X}", "\\uff58"),
        ("y ~ log", "'log' cannot be the name of a variable"), ("y ~ None", "cannot be the name"),
        ("y ~ _x", "cannot be the name"), ("y ~ log(x, x)", "log takes one variable"),
        ("y ~ cr(x, constraints='x')", "expected 'center'"), ("y ~ cr(x, knots=3)", "no option"),
        ("y ~ I(**x)", "I takes one variable"), ("y ~ x - x - 1", "no predictor is left"),
        ("y + x ~ age", "the outcome must be one column"), ("arm ~ x", "must be one column"),
        ("y ~ log(arm)", "'log(arm)' needs numbers; arm holds words"),
        ("y ~ log(1)", "of a number"),
    ],
)  # fmt: skip
def test_a_formula_that_is_none_is_refused_in_one_line(formula: str, reason: str) -> None:
    with pytest.raises(UsageError) as raised:
        design.build(formula, people())
    assert reason in str(raised.value)
    assert str(raised.value).isprintable()


LARGE = [
    "y ~ I(9**9**9**9)", "y ~ I((9**9)**9*x)", "y ~ poly(x,1000000)", "y ~ bs(x,df=1e8)",
    "y ~ bs(x, df=100000000)", "y ~ cr(x, df=10**8)", "y ~ (x+age+sex)**30",
    "y ~ I(arm*1000000000)", "y ~ I(x" + "+x" * 300 + ")", "y ~ " + "+".join(["x"] * 200),
    "y ~ I(" + "-" * 900 + "x)", "y ~ " + "(" * 400 + "x" + ")" * 400,
    "y ~ " + "log(" * 60 + "x" + ")" * 60, "y ~ x" * 1000,
    "y ~ " + "*".join(f"x{i}" for i in range(20)), "y ~ x" + "**9" * 300, "y ~ C(y):C(x):C(age)",
    "y ~ I(x**1000000)", "y ~ I(x*9999999999999999)",
]  # fmt: skip


@pytest.mark.parametrize("formula", LARGE, ids=range(len(LARGE)))
def test_a_formula_of_any_size_is_answered_in_one_line(formula: str) -> None:
    begin = time.process_time()
    with pytest.raises(UsageError) as raised:
        design.build(formula, people())
    assert time.process_time() - begin < ENDLESS_S
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    "text",
    [
        "-" * 2000 + "x > 1", "-" * 800 + "1 < x", "(" * 300 + "x > 1" + ")" * 300,
        "not " * 200 + "x > 1", "x > " + "9" * 600, "x > 1e999", "x in [" + "1, " * 500 + "1]",
    ],
    ids=range(7),
)  # fmt: skip
def test_a_filter_of_any_size_is_answered_in_one_line(text: str) -> None:
    begin = time.process_time()
    with pytest.raises(UsageError) as raised:
        expressions.keep(text, people())
    assert time.process_time() - begin < ENDLESS_S
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ x", "y ~ age + x", "y ~ x * age * sex", "y ~ sex:x + age", "y ~ x + age - 1",
        "y ~ (x + age + sex)**2 - x:age", "y ~ 1", "y ~ x / age", "count ~ x:count2 + count2",
    ],
)  # fmt: skip
def test_plain_numbers_give_the_columns_and_names_of_the_library(formula: str) -> None:
    frame = people().assign(count=np.arange(24), count2=np.arange(24) % 5)
    found = design.build(formula, frame)
    expected = formulaic.model_matrix(formula, frame, output="pandas")
    assert found.names == tuple(expected.rhs.columns)
    assert found.outcome_name == expected.lhs.columns[0]
    np.testing.assert_array_equal(found.predictors, expected.rhs.to_numpy(dtype=float))
    np.testing.assert_array_equal(found.outcome, expected.lhs.to_numpy(dtype=float)[:, 0])
    indices = expected.rhs.model_spec.term_indices
    assert found.terms == {str(term): tuple(columns) for term, columns in indices.items()}


def test_words_and_categories_of_numbers_are_compared_with_a_reference() -> None:
    frame = people().assign(kind=lambda given: pd.Categorical(given["sex"]))
    assert design.build("y ~ x + arm", frame).names == ("Intercept", "x", "arm[T.none]")
    assert design.build("y ~ x + kind", frame).names == ("Intercept", "x", "kind[T.1.0]")
    assert design.build("y ~ x + C(sex)", frame).names == ("Intercept", "x", "C(sex)[T.1.0]")


def test_the_variables_of_a_formula_are_found_in_order() -> None:
    assert formulas.variables("log(y) ~ b + a:c + bs(d, df=3) - 1") == ("y", "b", "a", "c", "d")


def test_other_terms_stand_in_for_variables_that_stand_alone() -> None:
    changed = formulas.substitute("y ~ age*sex + log(age) + stage", {"age": "cr(age, df=3)"})
    assert changed == "y ~ (cr(age, df=3))*sex + log(age) + stage"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("age <= 50", [True, True, False, False]),
        ("20 < age < 45", [True, False, False, False]),
        ("50 >= age", [True, True, False, False]),
        ("sex == 'F' and not age > 50", [True, False, False, False]),
        ("sex in ['M'] or age < 35", [True, True, True, False]),
        ("sex not in ('M',)", [True, False, False, True]),
        ("age > limit", [False, True, True, False]),
        ("", [True, True, True, True]),
    ],
)
def test_filters_keep_whom_they_name_and_nobody_unknown(text: str, expected: list[bool]) -> None:
    frame = pd.DataFrame(
        {"age": [30, 50, 51, np.nan], "sex": ["F", "M", "M", "F"], "limit": [40, 40, 40, 40]}
    )
    assert list(expressions.keep(text, frame)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sex != 'male'", [1, 0, 1, 0, 0]), ("sex == 'female'", [1, 0, 1, 0, 0]),
        ("sex == 'F'", [1, 0, 1, 0, 0]), ("'M' == sex", [0, 1, 0, 1, 0]),
        ("sex == 1", [0, 1, 0, 1, 0]), ("not sex == 'male'", [1, 0, 1, 0, 0]),
        ("sex in ['male', 'female']", [1, 1, 1, 1, 0]), ("sex not in ['male']", [1, 0, 1, 0, 0]),
        ("arm == 'Drug'", [0, 1, 1, 0, 1]), ("arm == 1", [0, 1, 1, 0, 1]),
        ("sex >= 1", [0, 1, 0, 1, 0]),
    ],
)  # fmt: skip
def test_words_of_a_filter_mean_the_levels_of_the_variable(text: str, expected: list[int]) -> None:
    frame = pd.DataFrame(
        {"sex": [0.0, 1.0, 0.0, 1.0, np.nan], "arm": ["none", "drug", "drug", "none", "drug"]}
    )
    assert list(expressions.keep(text, frame, SEX)) == [bool(value) for value in expected]
    expressions.check(text, SEX)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("age.max() > 3", "not a comparison"),
        ("height > 3", "no variable 'height'"),
        ("age is 3", "use == or !="),
        ("age > 'x'", "age holds numbers, not 'x'"),
        ("age in 3", "write 'variable in"),
        ("age >", "cannot be read"),
        ("age == True", "values are numbers, and words between quotes"),
        ("arm == 3", r"'?3'? is no level of arm. There are: none \(none, 0\); drug \(drug, 1\)"),
        ("sex == 'mael'", r"'mael' is no level of sex. There are: female \(0, f, female\)"),
        ("sex == 2", "2 is no level of sex"),
        ("sex < 'male'", "the levels of sex have no order"),
        ("word == 'c'", "nobody has 'c' as word. There are: a, b"),
        ("word > 1", r"word holds words \(a, b\), not 1"),
        ("word == age", "a number is compared with a word"),
    ],
)
def test_wrong_filters_are_refused_with_the_reason(text: str, message: str) -> None:
    frame = pd.DataFrame({"age": [30, 50], "sex": [0.0, 1.0], "word": ["a", "b"], "arm": "none"})
    with pytest.raises(UsageError, match=message):
        expressions.keep(text, frame, SEX)


# --- A stranger's analysis file -------------------------------------------------------------------

CANARY = Path("canary-of-the-formula-tests")

ATTACK = (
    'chi ~ I(age #` \n* """a" `\n+ __import__("os").system("touch ' + str(CANARY) + '") #"""\n)'
)
"""Ran as the user until formulas were printed back from the checked tree."""

WATCHED = (
    "import",
    "open",
    "os.system",
    "subprocess.Popen",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
)

seen: list[str] = []
watching = False


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if watching and event in WATCHED:
        seen.append(f"{event} {arguments!r:.80}")


@pytest.fixture(scope="module", autouse=True)
def _hook() -> None:
    sys.addaudithook(_watch)
    design.build("log(y) ~ cr(x, df=3) + poly(age, 2) + bs(x, 4) + C(sex)*arm", people())


@contextmanager
def guarded() -> Iterator[None]:
    """Let pass a refusal in one line; nothing else may happen, and it must end."""
    global watching  # noqa: PLW0603 - an audit hook cannot be taken out again
    begin = time.process_time()
    watching = True
    message = "passed"
    try:
        yield
    except QsmthalError as error:
        message = str(error)
    finally:
        watching = False
    assert message.isprintable()
    assert 0 < len(message) < 1000
    assert time.process_time() - begin < ENDLESS_S
    assert not seen
    assert not CANARY.exists()


def test_the_attack_that_once_ran_is_refused() -> None:
    frame = people().assign(chi=1.0)
    with pytest.raises(UsageError, match="is not allowed"):
        design.build(ATTACK, frame)
    assert not CANARY.exists()


def test_python_itself_is_out_of_reach_should_the_grammar_ever_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hostile = calls.Factor(f'I(__import__("os").system("touch {CANARY}") + x)', ("x",), 1)
    tree = formulas.Formula(calls.Factor("y", ("y",), 0), hostile)
    monkeypatch.setattr(formulas, "parse", lambda _: tree)
    with pytest.raises(UsageError, match="cannot be evaluated"):
        design.build("y ~ x", people())
    assert not CANARY.exists()


SCALE = 1.0 if os.environ.get("CI") == "true" else 0.1


def fuzz(n: int) -> settings:
    """Return settings for so many examples in CI, a tenth elsewhere; the three make 10,000."""
    return settings(
        max_examples=int(n * SCALE), deadline=None, derandomize=True, database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )  # fmt: skip


NAMES = ["y", "x", "age", "sex", "arm", "chi"]
HARMLESS = [
    *NAMES, *NAMES, "+", "+", "-", "*", "/", ":", "(", ")", "~", "~", " ", "0", "1", "2", "**2",
    "log(", "I(", "C(", "poly(", "bs(", "cr(", ", df=4", ", degree=2", ", constraints='center'",
    "**", ".5", ",",
]  # fmt: skip
HOSTILE = [
    f'__import__("os").system("touch {CANARY}")', f"open('{CANARY}','w')", "eval(", "exec(", "`",
    "#", '"' * 3, "'", '"', "{", "}", "%", "\\", "\n", "|", "^", "[", "]", "@", ";", "lambda:",
    ":=", ".__class__", "__builtins__", "breakpoint()", "getattr(", "9**9**9", "1e999",
    "(x+age+sex)**30", "-" * 200, "not ", "\N{FULLWIDTH LATIN SMALL LETTER E}val(", "\x00",
    "\u2028", "True", "None", "f'{", "0x1f", "1_0", "1j",
]  # fmt: skip
FILTER = [
    *NAMES, *NAMES, "<", "<=", "==", "==", "!=", " in ", " not in ", " and ", " or ", "not ", "(",
    ")", "[", "]", ",", "'female'", "'F'", "'none'", "1", "2.5", "-", " ", " is ",
]  # fmt: skip
BASES = [
    ATTACK, "y ~ x + log(age)*sex", "y ~ cr(age, df=3, constraints='center') + C(arm)",
    "y ~ I(x**2 + 1)", "log(y) ~ (x + age + sex)**2 - 1", "y ~ poly(x, 2):arm",
    "sex == 'female' and 20 < age <= 50", "arm in ['none', 'drug'] or not x > 1.5",
]  # fmt: skip


def joined(parts: list[str]) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(parts), min_size=1, max_size=14).map("".join)


def evaluated(text: str) -> None:
    with guarded():
        design.build(text, people().assign(chi=2.0))
    with guarded():
        expressions.keep(text, people().assign(chi=2.0), SEX)


def operand() -> st.SearchStrategy[str]:
    """Return calls and variables, most of them right."""
    name = st.sampled_from(NAMES)
    number = st.integers(-3, 12).map(str)
    call = st.builds(
        "{}({}{})".format,
        st.sampled_from(["log", "I", "C", "poly", "bs", "cr", "exp", "sqrt", "open", "eval"]),
        name | st.builds("{} {} {}".format, name, st.sampled_from("+-*/"), number | name),
        st.just("") | st.builds(", {}={}".format, st.sampled_from(["df", "degree", "x"]), number),
    )
    return name | name | call


SIGNS = st.sampled_from([" + ", " + ", " * ", ":", " / ", " - ", "**2 + ", " | "])
FORMULAS = st.builds(
    lambda outcome, first, rest: f"{outcome} ~ {first}{''.join(a + b for a, b in rest)}",
    st.sampled_from(["y", "y", "log(x)", "arm", "sex"]),
    operand(),
    st.lists(st.tuples(SIGNS, operand()), max_size=3),
)


@fuzz(3000)
@given(FORMULAS)
def test_formulas_by_the_grammar_run_nothing_and_end(text: str) -> None:
    with guarded():
        design.build(text, people().assign(chi=2.0))


@fuzz(4000)
@given(joined(HARMLESS + HOSTILE) | joined(FILTER + HOSTILE) | joined(FILTER) | joined(HARMLESS))
@example(ATTACK)
def test_pieces_of_formulas_and_attacks_run_nothing_and_end(text: str) -> None:
    evaluated(text)


@fuzz(3000)
@given(
    st.sampled_from(BASES),
    st.lists(
        st.tuples(st.integers(0, 120), st.sampled_from("rid"), st.integers(0, 255)), max_size=6
    ),
)
def test_formulas_and_filters_with_changed_bytes_run_nothing_and_end(
    base: str, changes: list[tuple[int, str, int]]
) -> None:
    content = bytearray(base.encode())
    for place, kind, value in changes:
        here = place % (len(content) + 1)
        content[here : here + (kind != "i")] = b"" if kind == "d" else bytes([value])
    evaluated(content.decode("latin-1"))
