"""The same person, scanned again."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal import simulate
from bids_qsmthal.core.image import Image
from bids_qsmthal.simulate import dataset


def test_visits_are_sessions_with_a_truth_of_their_own(tmp_path, monkeypatch):
    asked = []

    def make(_parameters, seed, _effects, _given, visit):
        asked.append((seed, visit))
        truth = {
            "volume_mm3": {"thalamus_LR": 1.0, "gray_matter": 2.0, "lesion": 3.0 + visit},
            "chi_relative_csf": {"LR": -20.0},
            "enhancing_count": 0,
        }
        scan = simulate.SimulatedScan("T1w", Image(np.ones((4, 4, 4), np.int16), np.eye(4)), {})
        return simulate.Participant((scan,), simulate.Truth(truth, {}))

    monkeypatch.setattr(dataset, "participant", make)
    cohort = simulate.draw_cohort(2, 3)
    simulate.write_dataset(tmp_path / "bids", cohort, visits=2)
    assert asked == [(person.seed, visit) for person in cohort for visit in (0, 1)]
    for name in ("sub-01/ses-1", "sub-01/ses-2", "sub-02/ses-2"):
        label = name.replace("/", "_")
        assert (tmp_path / f"bids/{name}/anat/{label}_T1w.nii.gz").is_file()
        truth = json.loads((tmp_path / f"truth/{name}/truth.json").read_text())
        assert truth["participant_id"] == name[:6]
    table = pd.read_csv(tmp_path / "truth/participants_truth.tsv", sep="\t")
    assert table["session_id"].tolist() == ["ses-1", "ses-2"] * 2
    assert table["lesion_mm3"].tolist() == [3.0, 4.0] * 2
    people = pd.read_csv(tmp_path / "bids/participants.tsv", sep="\t")
    assert people["participant_id"].tolist() == ["sub-01", "sub-02"]


@pytest.mark.slow
def test_another_visit_is_the_same_person_in_another_position(small_parameters):
    plan = replace(small_parameters, lesion_ml=0.0, enhancing=0)
    # Sources apart are drawn for the person: they must not be drawn again.
    effects = simulate.SCENARIOS["sources"].effects
    first, second = (
        simulate.gradient_echo_scan(plan, 11, effects, visit=visit) for visit in (0, 1)
    )
    one, two = (made.truth.numbers for made in (first, second))
    assert two["chi_relative_csf"]["LR"] == pytest.approx(one["chi_relative_csf"]["LR"], abs=0.5)
    for name in ("pallidum", "caudate", "putamen"):
        iron, again = (made["roi_sources_ppb"][name]["paramagnetic"] for made in (one, two))
        assert again == pytest.approx(iron, abs=2.0)
    brains = [made.truth.images["space-MEGRE_desc-brain_mask"].data > 0 for made in (first, second)]
    assert brains[1].sum() == pytest.approx(brains[0].sum(), rel=0.02)
    assert not np.array_equal(*brains)
    assert not np.array_equal(first.scans[0].image.data, second.scans[0].image.data)
