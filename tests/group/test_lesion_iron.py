"""Susceptibility of single lesions at the group level: participants count, not lesions."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.files import write_tsv
from bids_qsmthal.group import dictionary, finished, lesion_iron
from bids_qsmthal.participant.lesion_iron import DICTIONARY, Rim


def written(folder: Path, scan: str, **columns: list[object]) -> Path:
    """Write the table of a participant; what is not given is n/a."""
    table = pd.DataFrame(columns, columns=[*DICTIONARY])
    table["id"] = np.arange(1, len(table) + 1)
    table["diameter_mm"] = table["diameter_mm"].fillna(8.0)
    path = folder / f"{scan}{finished.LESIONS}"
    write_tsv(path, table)
    return path


def scans(**names: str) -> pd.DataFrame:
    rows = [(f"sub-{who}", scan) for who, scan in names.items()]
    return pd.DataFrame(rows, columns=["participant_id", "scan"], dtype="str")


@pytest.fixture
def lesions(tmp_path: Path) -> pd.DataFrame:
    """Three participants: many lesions of both kinds, few of both, one lesion."""
    paths = [
        written(
            tmp_path, "sub-a",
            chi_relative_nawm_ppb=[10.0] * 9 + [30.0, np.nan],
            enhancing_mm3=[0.0] * 9 + [40.0, 50.0],
            rim=[Rim.ABSENT] * 9 + [Rim.NOT_ASSESSED] * 2,
        ),
        written(
            tmp_path, "sub-b",
            chi_relative_nawm_ppb=[-4.0, 2.0, 6.0],
            enhancing_mm3=[0.0, 3.0, 3.0],
            rim=[Rim.ABSENT, Rim.PRESENT, Rim.PRESENT],
        ),
        written(
            tmp_path, "sub-c",
            chi_relative_nawm_ppb=[50.0],
            enhancing_mm3=[np.nan],
            rim=[Rim.PRESENT],
        ),
    ]  # fmt: skip
    known = scans(a="sub-a", b="sub-b", c="sub-c")
    return lesion_iron.of_participants(paths, known)


def test_the_columns_are_those_that_the_participant_level_writes() -> None:
    assert list(DICTIONARY) == lesion_iron.COLUMNS_OF_LESIONS
    assert list(dictionary.LESIONS) == list(lesion_iron.COLUMNS)


def test_means_are_over_participants_and_differences_within_them(lesions: pd.DataFrame) -> None:
    table = lesion_iron.table(lesions).set_index("lesions")
    # The lesion without a value is none; that of unknown enhancement has no kind.
    old = table.loc["lesions that do not enhance"]
    assert (old["n_lesions"], old["n_participants"]) == (10, 2)
    # Over lesions the mean would be 8.6.
    assert old["mean_ppb"] == pytest.approx((10 - 4) / 2)
    young = table.loc["enhancing lesions"]
    assert (young["n_lesions"], young["mean_ppb"]) == (3, pytest.approx((30 + 4) / 2))
    apart = table.loc["enhancing lesions minus lesions that do not enhance, within participants"]
    differences = np.array([20.0, 8.0])
    assert apart["mean_ppb"] == pytest.approx(14)
    interval = stats.t.interval(0.95, 1, differences.mean(), stats.sem(differences))
    assert (apart["ci_low"], apart["ci_high"]) == pytest.approx(interval)
    assert (apart["n_lesions"], apart["n_participants"]) == (13, 2)
    # With lesions that nobody could assess left out, one participant has lesions of both kinds.
    rims = table.loc["lesions with a rim minus lesions without a rim, within participants"]
    assert (rims["n_participants"], rims["mean_ppb"]) == (1, pytest.approx(8))
    assert np.isnan(rims["ci_low"])


def test_the_sentence_names_the_sign_and_the_interval(lesions: pd.DataFrame) -> None:
    text = lesion_iron.read(lesion_iron.table(lesions))
    assert (
        "In the 2 participants who have both, the susceptibility of enhancing lesions is 14.0 ppb "
        "higher than that of lesions that do not enhance (95% CI of the difference " in text
    )
    assert "Only 1 participant had both lesions with a rim and lesions without a rim" in text


def test_only_scans_that_are_analysed_count_and_of_runs_the_first(tmp_path: Path) -> None:
    paths = [
        written(tmp_path, name, chi_relative_nawm_ppb=[value], rim=[Rim.ABSENT])
        for name, value in (("sub-a_run-2", 1.0), ("sub-a_run-1", 2.0), ("sub-b", 3.0))
    ]
    known = pd.concat([scans(a="sub-a_run-2"), scans(a="sub-a_run-1")])
    rows = lesion_iron.of_participants(paths, known)
    assert rows[["participant_id", "chi_ppb"]].to_numpy().tolist() == [["sub-a", 2.0]]


def test_lesions_that_share_their_voxels_with_white_matter_do_not_count(tmp_path: Path) -> None:
    path = written(tmp_path, "sub-a", chi_relative_nawm_ppb=[1.0, 2.0], diameter_mm=[4.9, 5.0])
    assert lesion_iron.of_participants([path], scans(a="sub-a"))["chi_ppb"].tolist() == [2.0]


def test_without_tables_of_lesions_there_is_nothing() -> None:
    assert lesion_iron.table(lesion_iron.of_participants([], scans(a="sub-a"))).empty


def test_who_has_no_lesion_has_no_row(tmp_path: Path) -> None:
    path = written(tmp_path, "sub-a")
    assert lesion_iron.table(lesion_iron.of_participants([path], scans(a="sub-a"))).empty


def test_one_kind_alone_makes_no_section(tmp_path: Path) -> None:
    path = written(tmp_path, "sub-a", chi_relative_nawm_ppb=[1.0, 2.0], enhancing_mm3=[0.0, 0.0])
    rows = lesion_iron.of_participants([path], scans(a="sub-a"))
    assert len(rows) == 2
    assert lesion_iron.table(rows).empty


def test_a_table_of_another_version_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / f"sub-a{finished.LESIONS}"
    path.write_text("id\tgroup\n1\t1\n")
    told = r"sub-a_desc-qsmthal_lesions\.tsv: the columns are.*run the participant level again"
    with pytest.raises(DataError, match=told):
        lesion_iron.of_participants([path], scans(a="sub-a"))


def test_each_lesion_is_a_point_of_the_picture(lesions: pd.DataFrame) -> None:
    drawn = lesion_iron.draw(lesions).svg.decode()
    for text in (
        "By enhancement",
        "By paramagnetic rim",
        "lesions with a rim",
        "(n = 10)",
        "(n = 3)",
    ):
        assert text in drawn
