"""Only what a finished run wrote, and nothing changed since, is read."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.core.errors import LevelUnavailableError, MissingInputError
from bids_qsmthal.group import analysis_file, assembly, finished, flow
from bids_qsmthal.group.assembly import Cohort
from bids_qsmthal.group.reasons import Code, Reason
from bids_qsmthal.settings import Selection
from tests import cohorts

N = 6


@pytest.fixture
def study(tmp_path: Path) -> tuple[Path, Path]:
    cohort = cohorts.simulated(N, np.random.default_rng(5), {})
    bids_dir, output_dir = cohorts.write(cohort, tmp_path)
    cohorts.finish(output_dir)
    return bids_dir, output_dir


def table_of(output_dir: Path, who: str, acquisition: str = "") -> Path:
    return output_dir / who / "anat" / f"{who}{acquisition}_desc-qsmthal_measures.tsv"


def assembled(study: tuple[Path, Path], selection: Selection | None = None) -> Cohort:
    wanted = analysis_file.read(None)
    return assembly.assemble(*study, wanted, strict=False, selection=selection)


def failed_now(output_dir: Path) -> None:
    path = output_dir / "logs" / "failures.json"
    path.write_text(json.dumps({"sub-0003_acq-new": "no phase"}))


def killed_before_the_end(output_dir: Path) -> None:
    (output_dir / "logs" / "sub-0003_manifest.tsv").unlink()


def manifest_cut_short(output_dir: Path) -> None:
    path = output_dir / "logs" / "sub-0003_manifest.tsv"
    path.write_text(path.read_text()[:20])


def changed_by_hand(output_dir: Path) -> None:
    path = table_of(output_dir, "sub-0003")
    path.write_text(path.read_text().replace("ppb", "ppm"))


def renamed_scan(output_dir: Path) -> None:
    """The scan was called otherwise in an earlier run, whose table stayed."""
    path = table_of(output_dir, "sub-0003", "_acq-old")
    path.write_text(table_of(output_dir, "sub-0003").read_text().replace("-2", "-9"))


def two_acquisitions(output_dir: Path) -> None:
    values = {"chi": 500.0}
    for run in ("acq-a", "acq-b_run-1"):
        cohorts.write_measures(output_dir, "sub-0003", values, labels=("n/a", run))
    cohorts.finish(output_dir)


@pytest.mark.parametrize(
    ("happened", "code"),
    [
        (failed_now, Code.FAILED),
        (killed_before_the_end, Code.NOT_FINISHED),
        (manifest_cut_short, Code.NOT_FINISHED),
        (changed_by_hand, Code.CHANGED),
        (renamed_scan, Code.NOT_IN_MANIFEST),
    ],
)
def test_who_is_not_finished_and_current_is_left_out_with_the_reason(
    study: tuple[Path, Path], happened: Callable[[Path], None], code: Code
) -> None:
    happened(study[1])
    tables = finished.finished_tables(*study, Selection())
    assert [(one.participant_id, one.reason.code) for one in tables.left_out] == [
        ("sub-0003", code)
    ]
    cohort = assembled(study)
    assert set(cohort.frame["participant_id"]) == {f"sub-000{i}" for i in (1, 2, 4, 5, 6)}
    row = cohort.exclusions.set_index("participant_id").loc["sub-0003"]
    assert row["decision"] == "exclude"
    assert row["reason"] == tables.left_out[0].reason.text
    steps = flow.table(cohort.flow).set_index("step")
    assert steps.loc["with results", "n"] == N
    assert steps.loc["in the analysis", "n"] == N - 1
    excluded = steps[steps.index.str.startswith("excluded: ")]
    assert list(excluded["detail"]) == ["sub-0003"]


def write_scan(bids_dir: Path, who: str, session: str = "") -> Path:
    folder = bids_dir.joinpath(who, session, "anat")
    folder.mkdir(parents=True)
    path = folder / f"{who}_T1w.nii.gz"
    path.symlink_to("../.git/annex/objects/not-here")
    return path


def test_who_was_renamed_in_the_dataset_or_withdrawn_is_left_out(study: tuple[Path, Path]) -> None:
    """Otherwise a renamed participant counts twice: under the old name and the new one."""
    scans = {number: write_scan(study[0], f"sub-000{number}") for number in range(1, N + 1)}
    assert len(assembled(study).frame) == N
    scans[2].parent.parent.rename(study[0] / "sub-0099")
    scans[3].unlink()
    shutil.rmtree(scans[5].parent)  # an empty folder: a subdataset that is not installed
    cohort = assembled(study)
    assert set(cohort.frame["participant_id"]) == {f"sub-000{i}" for i in (1, 4, 5, 6)}
    reasons = cohort.exclusions.set_index("participant_id")["reason"]
    for who in ("sub-0002", "sub-0003"):
        assert reasons[who] == Reason(Code.NOT_IN_DATASET, (who,)).text
    steps = flow.table(cohort.flow).set_index("step")
    assert steps.loc["excluded: no images in the dataset any more", "n"] == 2


def test_a_session_that_the_dataset_has_no_more_is_left_out(tmp_path: Path) -> None:
    out, bids_dir = tmp_path / "out", tmp_path / "bids"
    for session in ("n/a", "ses-a", "ses-b"):
        cohorts.write_measures(out, "sub-01", {"chi": -10.0}, labels=(session, "n/a"))
    cohorts.finish(out)
    for session in ("ses-b", "ses-c"):
        write_scan(bids_dir, "sub-01", session)
    found = finished.finished_tables(bids_dir, out, Selection())
    assert [path.parent.parent.name for path in found.measures] == ["ses-b"]
    assert {(one.session_id, one.reason.code) for one in found.left_out} == {
        ("n/a", Code.NOT_IN_DATASET),
        ("ses-a", Code.NOT_IN_DATASET),
    }


def test_two_acquisitions_of_a_session_are_not_averaged(study: tuple[Path, Path]) -> None:
    two_acquisitions(study[1])
    cohort = assembled(study)
    assert "sub-0003" not in set(cohort.frame["participant_id"])
    rows = cohort.exclusions[cohort.exclusions["participant_id"] == "sub-0003"]
    assert set(rows["decision"]) == {"exclude"}
    assert rows["reason"].str.startswith("acq-a, acq-b_run-1, the scan without").all()


def test_of_two_acquisitions_the_one_that_is_not_excluded_by_hand_is_used(
    study: tuple[Path, Path],
) -> None:
    two_acquisitions(study[1])
    edits = study[1] / "edits" / "exclusions.tsv"
    edits.parent.mkdir()
    rows = [f"sub-0003\t{run}\texclude\n" for run in ("acq-a", "acq-b_run-1")]
    edits.write_text("participant_id\trun_id\tdecision\n" + "".join(rows))
    cohort = assembled(study)
    of_table = pd.read_csv(table_of(study[1], "sub-0003"), sep="\t")
    chi = of_table.set_index("measure").loc["chi_relative_csf", "value"]
    frame = cohort.frame.set_index("participant_id")
    assert frame.loc["sub-0003", "chi"] == pytest.approx(chi)


def test_a_run_is_named_alike_in_tables_ratings_and_by_hand(study: tuple[Path, Path]) -> None:
    for run, chi in (("1", -10.0), ("2", -30.0)):
        path = cohorts.write_measures(
            study[1], "sub-0003", {"chi": chi}, labels=("n/a", f"run-{run}")
        )
        path.write_text(path.read_text().replace(f"\trun-{run}\t", f"\t{run}\t"))
    table_of(study[1], "sub-0003").unlink()
    cohorts.finish(study[1])
    edits = study[1] / "edits" / "exclusions.tsv"
    edits.parent.mkdir()
    edits.write_text("participant_id\trun_id\tdecision\nsub-0003\trun-2\texclude\n")
    assert assembled(study).frame.set_index("participant_id").loc["sub-0003", "chi"] == -10.0


def test_only_who_is_asked_for_is_in_the_analysis(study: tuple[Path, Path]) -> None:
    cohort = assembled(study, Selection(participants=("0002", "0005")))
    assert list(cohort.frame["participant_id"]) == ["sub-0002", "sub-0005"]
    steps = flow.table(cohort.flow).set_index("step")["n"]
    assert steps["not asked for (--participant-label, --session-label)"] == N - 2
    with pytest.raises(MissingInputError, match="no results of participant 77"):
        finished.finished_tables(*study, Selection(participants=("77",)))


def test_only_sessions_and_runs_that_are_asked_for_are_read(tmp_path: Path) -> None:
    for session, chi in (("ses-a", -10.0), ("ses-b", -30.0)):
        for run in ("run-1", "run-2"):
            cohorts.write_measures(tmp_path, "sub-01", {"chi": chi}, labels=(session, run))
    found = finished.finished_tables(tmp_path, tmp_path, Selection(sessions=("b",), runs=("2",)))
    assert [path.name for path in found.measures] == [
        "sub-01_ses-b_run-2_desc-qsmthal_measures.tsv"
    ]
    with pytest.raises(MissingInputError, match=r"no results of session c\. There are: a, b"):
        finished.finished_tables(tmp_path, tmp_path, Selection(sessions=("c",)))


def test_where_nobody_is_finished_the_level_is_unavailable(study: tuple[Path, Path]) -> None:
    for path in (study[1] / "logs").glob("*_manifest.tsv"):
        path.unlink()
    (study[1] / "logs" / "settings.json").write_text("{}")
    with pytest.raises(LevelUnavailableError, match="no participant can be used: no finished run"):
        finished.finished_tables(*study, Selection())


def test_tables_that_come_without_any_logs_are_read_and_that_is_said(tmp_path: Path) -> None:
    cohort = cohorts.simulated(N, np.random.default_rng(5), {})
    made = assembled(cohorts.write(cohort, tmp_path))
    assert len(made.frame) == N
    assert any("There are no logs" in concern.text for concern in made.concerns)
