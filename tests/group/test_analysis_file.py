"""Analysis files: what is wrong ends in one line with line and column; editors get a schema."""

import json
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest
import yaml

from bids_qsmthal import group
from bids_qsmthal.app.cli import main
from bids_qsmthal.core.documents import parse
from bids_qsmthal.core.errors import DataError, MissingInputError, QsmthalError, UsageError
from bids_qsmthal.group import analysis_file
from bids_qsmthal.group.assembly import Cohort
from bids_qsmthal.statistics import regression
from bids_qsmthal.statistics.analysis import Analysis
from bids_qsmthal.statistics.resampling import Resampling
from tests import cohorts

SCHEMAS = Path(analysis_file.__file__).parents[1] / "data" / "schemas"


def written(folder: Path, *changes: tuple[str, str]) -> Path:
    """Return the packaged analysis with some texts changed."""
    text = analysis_file.packaged()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path = folder / "own.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("change", "marked", "message"),
    [
        (("Models:", "Modells:"), "Modells", "unknown setting Modells; did you mean Models?"),
        (("Label: Age", "Labl: Age"), "Labl", "unknown setting Variables.age.Labl; did you mean"),
        (
            ("left thalamus: {chi: {Hemisphere: L}}", "left thalamus: {chi: {Hemi: L}}"),
            "Hemi: L",
            "known are Measure, Region, Hemisphere, Units",
        ),
        (("chi ~ age}", "chi ~ agee}"), "chi ~ agee}", "no variable 'agee'. There are: chi"),
        (("chi ~ age}", "chi age}"), "chi age}", "expected 'outcome ~ predictors'"),
        (("chi ~ age}", "chi ~ age.sum()}"), "chi ~ age.sum", "cannot be read from '.sum()' on"),
        (
            ("Adjusted: chi_adjusted", "Adjusted: chi_adjust"),
            "chi_adjust}",
            "no model 'chi_adjust'",
        ),
        (("{Name: chi_age,", "{Name: chi_sex,"), "{Name: chi_sex, Formula: chi ~ sex", "more than"),
        (
            ("Measure: volume", "Measure: 3"),
            "3\n",
            "Variables.thalamic_volume.Measure: found 3, expected text",
        ),
        (
            ("Words: [F, female", "Words: [F, no, female"),
            "no, female",
            "found False, expected text",
        ),
        (
            ("{Name: chi_dmt, Formula: chi ~ dmt}", "{Name: chi_dmt}"),
            "{Name: chi_dmt}",
            "is missing",
        ),
        (("Decimals: 1", "Decimals: 99"), "99", "found 99, expected 10 or less"),
        (("Filter: age <= 50", "Filter: sex == 'mael'"), "sex == 'mael'", "female (0, f, female"),
        (("Filter: age <= 50", "Filter: sex < 'male'"), "sex < 'male'", "have no order"),
        (("Cohort: [age", "Cohort: [aeg"), "[aeg", "no variable 'aeg'"),
        (
            ("Adjusted: thickness_adjusted", "Unadjusted: ''"),
            "Label: Cortical thickness\n        Term",
            "is given twice",
        ),
        (("[F, female, woman]", "[F, female, M]"), "Label: Sex", "'m' means female and male"),
        (("age <= 50\n  - {", "age <= 50\n    GroupBy: [agee]\n  - {"), "[agee]", "no variable"),
        (
            ("Label: Sex", "Label: Sex\n    Reference: male"),
            "Label: Sex",
            "Reference 'male'; expected one of its levels (female, male), whose Values are words",
        ),
        (
            ("- Name: table1", "- Name: Cohort"),
            "Name: Cohort",
            "a table 'Cohort' would overwrite the group level's own file of this name",
        ),
        (("  age:\n", "  log:\n"), "Label: Age", "the name has a meaning of its own"),
        (("cr(age, df=3", "cr(agee, df=3"), '"cr(agee', "no variable 'agee'"),
        (
            ("Filter: age <= 50", "Filter: age <= '50'"),
            "age <= '50'",
            "a number is compared with a word: age holds numbers, not '50'",
        ),
        (
            ("Filter: age <= 50", "Filter: not chi == 'low'"),
            "not chi",
            "a number is compared with a word: chi holds numbers, not 'low'",
        ),
        (
            (
                "Filter: age <= 50",
                "Contrasts: [{Name: a, ConditionList: [age], Weights: [1]}, {Name: a, "
                "ConditionList: [sex], Weights: [1]}]",
            ),
            "{Name: a, ConditionList: [sex]",
            "the name 'a' is used more than once",
        ),
        (
            ("Term: age, Unadjusted: chi_age", "Term: agee, Unadjusted: chi_age"),
            "agee, Un",
            "model 'chi_age' has no term 'agee'. There are: Intercept, age.",
        ),
        (
            ("Model: thalamic_volume_unadjusted, Term: chi", "Model: chi_age, Term: chi"),
            "{Model: chi_age",
            "model 'chi_age' has no term 'chi'. There are: Intercept, age.",
        ),
        (
            ("    Label: Age\n", "    Label: Age\n    TopCoded: {89+: many}\n"),
            "many",
            "found 'many', expected a number.",
        ),
        (
            ("SmallestEffect: 0.28", "SmallestEffect: 1.2"),
            "1.2",
            "found 1.2, expected less than 1.",
        ),
    ],
)
def test_a_wrong_analysis_file_is_refused_with_line_and_column(
    tmp_path: Path, change: tuple[str, str], marked: str, message: str
) -> None:
    own = written(tmp_path, change)
    with pytest.raises(QsmthalError) as raised:
        analysis_file.read(own)
    said = str(raised.value)
    assert message in said
    assert said.isprintable()
    if isinstance(raised.value, UsageError):
        begin = own.read_text().index(marked)
        line = own.read_text().count("\n", 0, begin) + 1
        column = begin - own.read_text().rfind("\n", 0, begin)
        assert said.startswith(f"{own}, line {line}, column {column}: ")


@pytest.mark.parametrize("term", [
    "group[T.patient]", "Intercept", "poly(age, 2)[1]", "chi:sex", "older - younger", "C(sex)[T.1]",
])  # fmt: skip
def test_every_name_that_a_coefficient_can_have_is_a_term_of_a_table(
    tmp_path: Path, term: str
) -> None:
    formula = "thalamic_volume ~ group + poly( age,2 ) + chi * sex"
    contrast = "{Name: older - younger, ConditionList: [chi, sex], Weights: [1, -1]}"
    own = f"{{Name: own, Formula: '{formula}', Contrasts: [{contrast}]}}"
    path = written(
        tmp_path,
        ("Models:\n", f"Models:\n  - {own}\n"),
        ("{Label: Age, Term: age, Unadjusted: chi_age",
         f"{{Label: Age, Term: '{term}', Unadjusted: own"),
        (", Adjusted: chi_adjusted}\n      - {Label: Sex", "}\n      - {Label: Sex"),
        ("Session: first", "Session: first\nSite: {Variable: sex, As: fixed}"),
    )  # fmt: skip
    if term.startswith("C("):  # the site is no further term of a model that names it
        with pytest.raises(UsageError, match=r"has no term 'C\(sex\)'"):
            analysis_file.read(path)
    else:
        assert analysis_file.read(path).tables[1].rows[1].term == term


def test_the_site_that_is_put_into_a_model_is_a_term_of_it(tmp_path: Path) -> None:
    own = written(
        tmp_path,
        ("Term: age, Unadjusted: chi_age, Adjusted: chi_adjusted",
         "Term: 'C(dmt)[T.1.0]', Unadjusted: chi_age"),
        ("Session: first", "Session: first\nSite: {Variable: dmt, As: fixed}"),
    )  # fmt: skip
    assert analysis_file.read(own).tables[1].rows[1].term == "C(dmt)[T.1.0]"


@pytest.mark.parametrize("contrast", ["age", "none"])
def test_a_wrong_contrast_is_refused_with_line_and_column_when_it_is_fitted(
    tmp_path: Path, contrast: str
) -> None:
    named = "{Name: age, ConditionList: [age], Weights: [1]}"
    if contrast == "none":
        named = "{Name: own, ConditionList: [agge], Weights: [1]}"
    own = written(tmp_path, ("Filter: age <= 50", f"Contrasts: [{named}]"))
    model = next(model for model in analysis_file.read(own).models if model.contrasts)
    frame = cohorts.published()
    before, _, after = own.read_text().partition(named)
    place = f"line {before.count(chr(10)) + 1}, column {len(before.rpartition(chr(10))[2]) + 1}"
    assert after
    with pytest.raises(UsageError) as raised:
        regression.fit(model, frame)
    assert str(raised.value).startswith(f"{own}, {place}: model '{model.name}': ")


def test_what_is_no_yaml_is_refused_with_the_place(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not readable as YAML.*line 7, column 7"):
        analysis_file.read(written(tmp_path, ("Name: chiang2018", "Name: [1")))


GROUPED = (
    "Models:\n",
    "Models:\n  - {Name: each, Formula: chi ~ age, GroupBy: [sex]}\n",
)


def test_a_table_row_names_one_part_of_a_grouped_model_by_its_level(tmp_path: Path) -> None:
    row = "{Label: Age, Term: age, Unadjusted: chi_age, Adjusted: chi_adjusted}"
    whole = written(tmp_path, GROUPED, (row, "{Label: Age, Term: age, Adjusted: each}"))
    with pytest.raises(UsageError, match=r"name one of them: each\[sex=female\], each\[sex=male\]"):
        analysis_file.read(whole)
    part = "{Label: Age, Term: age, Adjusted: 'each[sex=male]'}"
    found = analysis_file.read(written(tmp_path, GROUPED, (row, part)))
    assert found.tables[1].rows[1].adjusted == "each[sex=male]"


def test_a_table_row_without_models_is_refused(tmp_path: Path) -> None:
    row = "{Label: Age, Term: age, Unadjusted: chi_age, Adjusted: chi_adjusted}"
    with pytest.raises(UsageError, match="row 'Age': give the model under 'Unadjusted'"):
        analysis_file.read(written(tmp_path, (row, "{Label: Age, Term: age}")))


def test_a_formula_in_a_block_of_lines_runs_nothing(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    lines = [
        "chi ~ I(age #`",
        '* """a" `',
        f'+ __import__("os").system("touch {canary}") #"""',
        ")",
    ]
    block = "Formula: |\n" + "".join(f"        {line}\n" for line in lines)
    model = f"  - Name: chi_age\n    {block}"
    old = "  - {Name: chi_age, Formula: chi ~ age}\n"
    with pytest.raises(UsageError, match="the character '#' is not allowed") as raised:
        analysis_file.read(written(tmp_path, (old, model)))
    assert str(raised.value).isprintable()
    assert not canary.exists()


MEDIATION = "Mediation: [{{Name: path, Cause: {}, Mediator: chi, Outcome: {}}}]\n"


def test_steps_of_a_mediation_are_read_however_they_are_spelled(tmp_path: Path) -> None:
    added = MEDIATION.format("log( lesion_volume )", "edss")
    path = analysis_file.read(written(tmp_path, ("Models:\n", f"{added}Models:\n"))).mediation[0]
    assert (path.cause, path.mediator, path.outcome) == ("log(lesion_volume)", "chi", "edss")


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (("log( edss )", "log(edss)"), "three different variables; found log(edss), chi and log"),
        (("age + sex", "edss"), "'age + sex': expected one variable, or a function of it"),
        (("heigth", "edss"), "no variable 'heigth'"),
    ],
)
def test_steps_that_make_no_path_are_refused(
    tmp_path: Path, steps: tuple[str, str], message: str
) -> None:
    added = MEDIATION.format(*steps)
    with pytest.raises(UsageError) as raised:
        analysis_file.read(written(tmp_path, ("Models:\n", f"{added}Models:\n")))
    assert message in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "Name: x\nVariables: &a [" + "*a, " * 3 + "*a]",
        "\n".join(
            ["a: &a0 [1, 1]"] + [f"b{i}: &a{i} [{f'*a{i - 1}, ' * 9}]" for i in range(1, 12)]
        ),
        "a: " + "[" * 3000 + "]" * 3000,
    ],
    ids=["within itself", "a billion values in twelve lines", "deep"],
)
def test_a_file_that_stands_for_more_than_it_holds_is_refused_at_once(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(QsmthalError, match=r"more than 100000 values|not readable|expected names"):
        analysis_file.read(path)


def test_the_packaged_schema_is_the_one_that_files_are_checked_with() -> None:
    packaged = (SCHEMAS / "analysis.schema.json").read_text(encoding="utf-8")
    assert packaged == analysis_file.schema_text(), "run: python tools/write_schemas.py"


def test_editors_accept_the_packaged_analysis_and_mark_a_misspelled_key() -> None:
    schema = json.loads(analysis_file.schema_text())
    content = yaml.safe_load(analysis_file.packaged())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(content, schema)
    place = analysis_file.packaged().partition("$schema=")[2].partition("\n")[0]
    assert (SCHEMAS.parent / "analyses" / place).resolve() == SCHEMAS / "analysis.schema.json"
    content["Models"][0]["Formla"] = content["Models"][0].pop("Formula")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, schema)


@pytest.mark.parametrize("wrong", [
    "Evidence: {SmallestEffect: 1.2}", "Evidence: {SmallestRatio: 1}",
    "Evidence: {CorrelationWidth: 3}", "Evidence: {RegressionScale: 0}",
    "Sensitivity: {ZeroAdd: {lesion_volume: -0.1}}", "Imputation: {Datasets: 2}",
    "Site: {Variable: sex, As: mixed}", "Models: [{Name: m, Formula: a ~ b, Family: poison}]",
])  # fmt: skip
def test_editors_mark_what_the_group_level_would_refuse(wrong: str) -> None:
    schema = json.loads(analysis_file.schema_text())
    content = yaml.safe_load(analysis_file.packaged()) | yaml.safe_load(wrong)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, schema)
    with pytest.raises(UsageError, match="expected"):
        analysis_file.analysed(parse(yaml.safe_dump(content), Path("own.yaml")))


def test_missing_codes_top_codes_and_the_reference_level_are_read(tmp_path: Path) -> None:
    found = analysis_file.read(
        written(
            tmp_path,
            ("Variables:\n", "Missing: [unknown, 999]\nFilter: sex == 'female'\nVariables:\n"),
            ("Label: Age\n", "Label: Age\n    Missing: [Not asked]\n    TopCoded: {89+: 89}\n"),
            (
                "Label: EDSS\n",
                "Label: EDSS\n    Reference: mild\n    Levels:\n"
                "      severe: {Value: severe}\n      mild: {Value: mild, Words: [little]}\n",
            ),
        )
    )
    age, edss = found.variables["age"], found.variables["edss"]
    assert age.missing == ("unknown", "999", "not asked")
    assert age.top_coded == {"89+": 89.0}
    assert edss.missing == ("unknown", "999")
    assert [name for name, level in edss.levels.items() if level.is_reference] == ["mild"]
    assert found.filter == "sex == 'female'"
    assert set(found.vocabulary) == {"sex", "dmt", "edss", "enhancing", "group", "quality"}


def test_the_printed_analysis_gives_the_same_models_when_it_is_fed_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["--print-analysis"]) == 0
    own = tmp_path / "own.yaml"
    own.write_text(capsys.readouterr().out)
    # Without EDSS: what is an error in a file of the user's own only costs models here.
    study = cohorts.write(cohorts.simulated(12, np.random.default_rng(1), {}), tmp_path)
    reached = []

    def stop(wanted: Analysis, cohort: Cohort, how: Resampling) -> None:
        reached.append((wanted, cohort.frame, how))
        raise UsageError("far enough")

    # From here on results depend on what is handed over alone (equal input gives equal bytes).
    monkeypatch.setattr(group.fitting, "fit_all", stop)
    for analysis in (None, own):
        with pytest.raises(UsageError, match="far enough"):
            group.process(*study, analysis=analysis)
    (by_default, frame, how), (fed_back, same_frame, same_how) = reached
    assert fed_back == by_default
    assert same_how == how
    pd.testing.assert_frame_equal(same_frame, frame)
    own.write_text(own.read_text().replace("Label: EDSS", "Label: Disability"))
    with pytest.raises(MissingInputError, match="no column edss"):
        group.process(*study, analysis=own)
