"""The same question elsewhere in the brain: which columns are regions, and what counts them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.core.documents import parse
from bids_qsmthal.group import analysis_file, assembly, fitting, interpretation, pictures
from bids_qsmthal.statistics import regression, sensitivity
from bids_qsmthal.statistics.regression import Model
from bids_qsmthal.statistics.resampling import Resampling
from tests import cohorts

N = 30
ANALYSIS = """
Name: elsewhere
Variables:
  iron: {Label: Iron, Measure: chi_relative_csf, Region: REGION, Hemisphere: LR, Units: ppb}
  age: {Label: Age, Columns: [age], Units: year}
Models: [{Name: by_age, Formula: age ~ iron}]
Tables: [{Name: t, Title: T, Rows: [{Label: Age, Term: iron, Adjusted: by_age}]}]
Sensitivity:
  Measures:
    elsewhere: {iron: {Region: "*"}}
    median: {iron: {Measure: chi_median}}
"""
MEASURES = [
    ("chi_relative_csf", "putamen"),
    ("chi_relative_csf", "red_nucleus"),
    # Neither is susceptibility of a region, though their columns begin like it.
    ("chi_relative_csf_se", "thalamus"),
    ("chi_relative_csf_global", "thalamus"),
    ("chi_median", "thalamus"),
    ("chi_median", "putamen"),
]


def study(root: Path) -> tuple[Path, Path, pd.DataFrame]:
    """Write a cohort with several measures of several regions; return their values, too."""
    rng = np.random.default_rng(31)
    truth = cohorts.simulated(N, rng, {"age": 0.4})
    bids_dir, output_dir = cohorts.write(truth, root)
    for measure, region in MEASURES:
        truth[f"{measure} {region}"] = truth["chi"] + rng.normal(0, 4, N)
    for path, (_, row) in zip(
        sorted(output_dir.glob("sub-*/anat/*.tsv")), truth.iterrows(), strict=True
    ):
        who = path.parents[1].name
        lines = [
            f"{who}\tn/a\tn/a\t{measure}\t{region}\tLR\t{row[f'{measure} {region}']:.12g}\tppb"
            "\t100\t0\ttest\ttest\tinclude"
            for measure, region in MEASURES
        ]
        path.write_text(path.read_text() + "\n".join(lines) + "\n")
    return bids_dir, output_dir, truth


@pytest.mark.parametrize(("own", "others"), [
    ("thalamus", {"putamen", "red_nucleus"}), ("putamen", {"thalamus", "red_nucleus"}),
])  # fmt: skip
def test_every_other_region_with_the_measure_stands_beside_the_question(
    own: str, others: set[str], tmp_path: Path
) -> None:
    bids_dir, output_dir, truth = study(tmp_path)
    text = ANALYSIS.replace("REGION", own)
    analysis = analysis_file.analysed(parse(text, Path("a.yaml")))
    cohort = assembly.assemble(bids_dir, output_dir, analysis, strict=True)
    how = Resampling(n_permutations=99, n_bootstraps=99)
    results = fitting.fit_all(analysis, cohort, how)
    rows = results.sensitivity.set_index("specification")
    elsewhere = rows[rows["kind"] == "region"]
    assert set(elsewhere.index) == {f"elsewhere: {name.replace('_', ' ')}" for name in others}
    assert (elsewhere["distinct"] == 0).all()
    frame = truth.rename(columns={"chi": "chi_relative_csf thalamus"})
    for name in others:
        data = frame[["age"]].assign(iron=frame[f"chi_relative_csf {name}"])
        found = regression.fit(Model(name="m", formula="age ~ iron"), data).row("iron")
        row = elsewhere.loc[f"elsewhere: {name.replace('_', ' ')}"]
        assert row["coefficient"] == pytest.approx(found["coefficient"], rel=1e-9)
    counted = rows.index[rows["distinct"] == 1]
    # Where nobody is far out, Huber's method gives no other estimate.
    assert list(counted.drop("Huber M-estimate", errors="ignore")) == [sensitivity.MAIN, "median"]
    text = interpretation.read_sensitivity(results.sensitivity, analysis)
    assert f"{len(counted)} different estimates; same sign in {len(counted)}, p below" in text
    assert "Of 2 other regions, not counted here, 2 have the same sign" in text
    curve, regions = pictures.specifications(analysis, results)
    assert "median (n\xa0=\xa030)".encode() in curve.content
    assert b"elsewhere" not in curve.content
    assert regions.content.count(b"elsewhere: ") == 2
