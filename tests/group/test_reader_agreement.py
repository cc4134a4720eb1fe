import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.core import nifti
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.image import Image
from bids_qsmthal.group import dictionary, reader_agreement

AFFINE = np.diag([2.0, 2, 2, 1])
NAME = "space-MEGRE_desc-thalamus_dseg"


def mask(length: int) -> np.ndarray:
    made = np.zeros((12, 4, 4), np.uint8)
    made[:length, 1:3, 1:3] = 1
    return made


def corrected(root, scan: str, number: int, reader: str, data: np.ndarray, name=NAME) -> None:
    folder = root / "edits" / "versions" / scan / "anat" / f"{scan}_{name}"
    nifti.save(Image(data, AFFINE), folder / f"{number:04d}_{reader}.nii.gz")


def rated(root, reader: str, decisions: list[str], time: str = "2026-01-01T00:00:00Z") -> None:
    folder = root / "edits" / "ratings" / reader
    folder.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame({"decision": decisions})
    frame.insert(0, "participant_id", [f"sub-{number}" for number in range(len(decisions))])
    frame = frame.assign(session_id="n/a", run_id="n/a", reason="", rater=reader, rated_at=time)
    frame.to_csv(folder / f"{time[:4]}_rating.tsv", sep="\t", index=False)


def test_two_readers_of_three_scans_are_compared_and_the_last_of_each_counts(tmp_path) -> None:
    for scan, first, second in (("sub-1", 4, 4), ("sub-2", 6, 7), ("sub-3", 8, 10)):
        corrected(tmp_path, scan, 0, "AB", mask(12))
        corrected(tmp_path, scan, 1, "AB", mask(first))
        corrected(tmp_path, scan, 2, "CD", mask(second))
        corrected(tmp_path, scan, 3, "unknown", mask(1))
    corrected(tmp_path, "sub-4", 0, "AB", mask(3))
    found = reader_agreement.table(tmp_path)
    assert set(found.columns) == set(dictionary.READERS)
    rows = found.set_index("quantity")
    assert list(rows.index) == ["dice", "icc_volume"]
    assert set(rows["first"]) | set(rows["second"]) == {"AB", "CD"}
    assert list(rows["n_scans"]) == [3, 3]
    assert rows.loc["dice", "value"] == pytest.approx((1 + 12 / 13 + 16 / 18) / 3)
    assert rows.loc["dice", ["lowest", "lowest_scan"]].tolist() == [
        pytest.approx(16 / 18),
        "sub-3",
    ]
    # By hand: means 4, 6.5, 9 and 6, 7; squares 12.5, 1.5 and .5, in units of 32 mm3.
    assert rows.loc["icc_volume", "value"] == pytest.approx(12 / (12.5 + 0.5 + 2 * 1.0 / 3))


def test_susceptibility_is_against_the_reference_of_the_run(tmp_path) -> None:
    chi = 1e-3 * np.arange(12, dtype=np.float32)[:, None, None] * np.ones((12, 4, 4), np.float32)
    for number, (first, second) in enumerate(((2, 4), (6, 6), (10, 8))):
        folder = tmp_path / f"sub-{number}" / "anat"
        # Its zero differs from scan to scan; a mean without it would agree less.
        nifti.save(Image(chi + np.float32(number), AFFINE), folder / f"sub-{number}_Chimap.nii.gz")
        reference = folder / f"sub-{number}_space-MEGRE_label-CSF_desc-reference_mask.nii.gz"
        nifti.save(Image((chi < 1e-4).astype(np.uint8), AFFINE), reference)
        corrected(tmp_path, f"sub-{number}", 0, "AB", mask(first))
        corrected(tmp_path, f"sub-{number}", 1, "CD", mask(second))
    rows = reader_agreement.table(tmp_path).set_index("quantity")
    # Means of 0.5, 2.5, 4.5 and 1.5, 2.5, 3.5 ppb: squares 4.5, 0, .5.
    assert rows.loc["icc_susceptibility", "value"] == pytest.approx(4 / (5 - 1 / 3), abs=1e-3)


def test_ratings_of_two_readers_give_kappa_by_the_newest_of_each(tmp_path) -> None:
    rated(tmp_path, "AB", ["exclude"] * 4, "2025-01-01T00:00:00Z")
    rated(tmp_path, "AB", ["include", "include", "exclude", "exclude"])
    rated(tmp_path, "CD", ["include", "exclude", "exclude", "exclude", "check"])
    (row,) = reader_agreement.table(tmp_path).to_dict("records")
    assert (row["about"], row["first"], row["second"], row["n_scans"]) == ("rating", "AB", "CD", 4)
    assert row["value"] == pytest.approx(0.5)


def test_what_is_no_decision_or_has_no_reader_does_not_count(tmp_path) -> None:
    rated(tmp_path, "AB", ["include", "maybe", "exclude"])
    rated(tmp_path, "CD", ["include", "include", "exclude"])
    rated(tmp_path, "n/a", ["exclude"] * 3)
    (row,) = reader_agreement.table(tmp_path).to_dict("records")
    assert (row["n_scans"], row["value"]) == (2, 1)


def test_one_reader_is_no_agreement(tmp_path) -> None:
    corrected(tmp_path, "sub-1", 0, "AB", mask(4))
    rated(tmp_path, "AB", ["include"])
    assert reader_agreement.table(tmp_path).empty


def test_masks_of_different_grids_are_named(tmp_path) -> None:
    corrected(tmp_path, "sub-1", 0, "AB", mask(4))
    corrected(tmp_path, "sub-1", 1, "CD", mask(4)[:-1])
    with pytest.raises(DataError, match=f"sub-1_{NAME}: the readers' masks are on different grids"):
        reader_agreement.table(tmp_path)
