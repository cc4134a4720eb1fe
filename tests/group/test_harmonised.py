"""Several scanners: every row of the sensitivity table stands on the same scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.group import analysis_file, assembly, fitting
from bids_qsmthal.statistics import harmonisation, regression
from bids_qsmthal.statistics.harmonisation import Harmonisation
from bids_qsmthal.statistics.resampling import Resampling
from tests import cohorts

OWN = """
Name: own
Variables:
  chi: {Measure: chi_relative_csf, Region: thalamus, Hemisphere: LR, Units: ppb}
  thickness: {Measure: thickness_mean, Region: cortex, Hemisphere: LR, Units: mm}
  age: {Columns: [age]}
  site:
    Columns: [site]
    Levels: {a: {Value: a}, b: {Value: b}}
Models: [{Name: m, Formula: thickness ~ chi + age}]
Tables:
  - {Name: t, Title: T, Rows: [{Label: Chi, Term: chi, Adjusted: m}]}
Sensitivity:
  Measures: {volume instead: {chi: {Measure: volume, Region: thalamus, Units: mm3}}}
Harmonisation: {Site: site, Variables: [chi, thickness], Keep: [age]}
"""


def test_another_measure_is_compared_on_the_harmonised_scale(tmp_path: Path) -> None:
    cohort = cohorts.simulated(60, np.random.default_rng(8), {"age": 0.3})
    there = np.arange(60) % 2 == 1
    cohort.loc[there, ["chi", "thalamic_volume"]] += [25.0, 4000.0]
    bids_dir, output_dir = cohorts.write(cohort, tmp_path)
    people = pd.read_csv(bids_dir / "participants.tsv", sep="\t")
    people.assign(site=np.where(there, "b", "a")).to_csv(
        bids_dir / "participants.tsv", sep="\t", index=False
    )
    own = tmp_path / "own.yaml"
    own.write_text(OWN)
    analysis = analysis_file.read(own)

    made = assembly.assemble(bids_dir, output_dir, analysis, strict=True)
    results = fitting.fit_all(analysis, made, Resampling(n_bootstraps=30, n_permutations=99))
    rows = results.sensitivity.set_index("specification")

    plain = cohort.assign(site=np.where(there, "b", "a"), thickness=cohort["cortical_thickness"])
    how = Harmonisation(site="site", variables=("thalamic_volume", "thickness"), keep=("age",))
    expected, _ = harmonisation.harmonise(plain, how)
    model = regression.Model(name="m", formula="thickness ~ thalamic_volume + age")
    slope = regression.fit(model, expected).row("thalamic_volume")["coefficient"]
    assert rows.loc["volume instead", "coefficient"] == pytest.approx(slope, rel=1e-6)
    raw = regression.fit(model, plain).row("thalamic_volume")["coefficient"]
    assert slope != pytest.approx(raw, rel=0.05)
    boot, estimate = rows.loc["bootstrap (BCa)"], rows.loc["as in the table", "coefficient"]
    assert boot["note"] == "30 draws of participants within sites, each harmonised again"
    assert boot["ci_low"] < estimate < boot["ci_high"]
    permuted = rows.loc["permutation (Freedman-Lane)"]
    assert (
        permuted["note"] == "99 permutations of measured values within sites, each harmonised again"
    )
    assert 0 < permuted["p"] <= 1
    assert set(made.harmonised["variable"]) == {"chi", "thickness", "volume_thalamus_LR"}
