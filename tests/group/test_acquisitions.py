"""One table says how all scans were acquired, and who differs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.group import acquisitions, analysis_file, assembly, fitting
from bids_qsmthal.statistics import regression
from bids_qsmthal.statistics.resampling import Resampling
from tests import cohorts

USUAL = {
    "imaging frequency": ("123.25", "MHz"),
    "echo times": ("4.92, 9.84, 14.76", "ms"),
    "direction of B0 along the voxel axes": ("0, 0.1, 0.995", ""),
    "inversion": ("medi: regularisation 1200", ""),
    "scanner": ("A", ""),
}


def written(folder: Path, scan: str, **changed: str) -> Path:
    path = folder / f"{scan}_desc-qsmthal_acquisition.tsv"
    rows = [
        f"{name}\t{changed.get(name.split()[0], value)}\t{unit or 'n/a'}\tsidecar"
        for name, (value, unit) in USUAL.items()
    ]
    path.write_text("\n".join(["parameter\tvalue\tunit\tfrom", *rows, ""]))
    return path


def test_drift_rounding_and_position_are_no_difference(tmp_path: Path) -> None:
    paths = [
        written(tmp_path, "sub-01"),
        written(tmp_path, "sub-02", imaging="123.21", echo="4.9, 9.8, 14.8"),
        written(tmp_path, "sub-03", direction="0.02, 0.05, 0.998"),
    ]
    found = acquisitions.table(paths)
    assert list(found["parameter"]) == list(USUAL)
    assert set(found["n"]) == {3}
    assert acquisitions.differing(found).empty


def test_who_differs_is_named_beside_what_is_usual(tmp_path: Path) -> None:
    paths = [
        written(tmp_path, "sub-01", echo="4.92, 9.84", imaging="63.8"),
        written(tmp_path, "sub-02"),
        written(tmp_path, "sub-03", inversion="tkd: threshold 0.2"),
        written(tmp_path, "sub-04", direction="0, 0.6, 0.8", imaging="n/a"),
    ]
    found = acquisitions.differing(acquisitions.table(paths)).set_index(["parameter", "usual"])
    others = found.xs("no", level="usual").groupby("parameter")["scans"].agg(list).to_dict()
    assert others == {
        "imaging frequency": ["sub-01", "sub-04"],
        "echo times": ["sub-01"],
        "inversion": ["sub-03"],
        "direction of B0 along the voxel axes": ["sub-04"],
    }
    assert found.loc[("echo times", "yes"), "n"] == 3
    assert found.loc[("echo times", "yes"), "value"] == "4.92, 9.84, 14.76"


def test_without_tables_there_is_nothing_to_say() -> None:
    assert acquisitions.table([]).empty


def test_scanner_and_protocol_of_each_session_are_covariates_where_participants_differ(
    tmp_path: Path,
) -> None:
    scans = ["sub-01_ses-1", "sub-02_ses-1", "sub-03_ses-1_run-1", "sub-03_ses-1_run-2", "sub-04"]
    identity = pd.DataFrame(
        {
            "participant_id": ["sub-01", "sub-02", "sub-03", "sub-03", "sub-04"],
            "session_id": ["ses-1"] * 4 + ["n/a"],
            "scan": scans,
        }
    )
    prisma = "Siemens, Prisma, XA30"
    changes = [
        {"scanner": prisma}, {"scanner": prisma, "echo": "5, 10"}, {"scanner": prisma},
        {"scanner": "GE, MR750, DV26"}, {"scanner": "GE, MR750, DV26"},
    ]  # fmt: skip
    paths = [written(tmp_path, scan, **own) for scan, own in zip(scans, changes, strict=True)]
    kinds = acquisitions.kinds(paths, identity)
    # The first run of a session tells its scanner.
    assert list(kinds[acquisitions.SCANNER]) == ["A", "A", "A", "B"]
    assert list(kinds[acquisitions.PROTOCOL]) == ["A", "B", "A", "C"]
    assert kinds.loc[("sub-04", "n/a"), acquisitions.SCANNER] == "B"
    names = [one.name for one in acquisitions.specifications(kinds)]
    assert names == ["scanner as covariate", "protocol as covariate"]
    same = acquisitions.specifications(kinds.iloc[:2])
    assert [(one.name, one.added) for one in same] == [
        ("protocol as covariate", (acquisitions.PROTOCOL,))
    ]


@pytest.mark.slow
def test_a_scanner_that_moves_the_number_is_seen_in_the_specifications(tmp_path: Path) -> None:
    frame = cohorts.published().head(40)
    other = np.arange(40) % 2 == 1
    # One scanner reads 30 ppb more and its participants have larger thalami.
    frame["chi"] += 30 * other
    frame["thalamic_volume"] += 3000 * other
    bids_dir, output_dir = cohorts.write(frame, tmp_path)
    folders = sorted(output_dir.glob("sub-*"))
    for who, there in zip([folder.name for folder in folders], other, strict=True):
        model = "B" if there else "A"
        made = written(tmp_path, who, scanner=model)
        made.rename(output_dir / who / "anat" / made.name)
    cohorts.finish(output_dir)
    whole = analysis_file.read(None)
    table = replace(whole.tables[0], rows=whole.tables[0].rows[:1])
    analysis = replace(whole, tables=(table,), published=(), mediation=())
    cohort = assembly.assemble(bids_dir, output_dir, analysis, strict=False)
    how = Resampling(n_bootstraps=99, n_permutations=99)
    rows = fitting.fit_all(analysis, cohort, how).sensitivity
    own = rows[rows["model"] == "thalamic_volume_adjusted"].set_index("specification")
    model = next(one for one in analysis.models if one.name == "thalamic_volume_adjusted")
    told = replace(model, formula=f"{model.formula} + scanner")
    by_hand = regression.fit(told, cohort.frame.assign(scanner=np.where(other, "b", "a")))
    found = own["coefficient"].astype(float)
    assert found["scanner as covariate"] == pytest.approx(by_hand.row("chi")["coefficient"])
    assert found["as in the table"] > found["scanner as covariate"] + 30
    assert acquisitions.SCANNER not in cohort.frame
    for row, measure in (("number of lesions", "rim_count"), ("any lesion", "rim_present")):
        reason = own.loc[f"{row} with a rim as covariate", "note"]
        assert f"no participant has the measure {measure}" in reason
