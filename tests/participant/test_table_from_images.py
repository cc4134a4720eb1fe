"""The table of measures, computed again from the images beside it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage, stats

from tests.seam import NAME, Study, voxels

pytestmark = pytest.mark.slow

SIDES = {"L": (1,), "R": (2,), "LR": (1, 2)}
IDENTITY = ["measure", "region", "hemisphere"]


@pytest.fixture(params=["tiny", pytest.param("seam", marks=pytest.mark.slow)])
def study(request: pytest.FixtureRequest) -> Study:
    made: Study = request.getfixturevalue(f"{request.param}_study")
    return made


def regions(study: Study) -> dict[str, np.ndarray]:
    thalamus = voxels(study.made("space-MEGRE_desc-thalamus_dseg"))
    # The mask of the fluid does not tell its sides: those of the ventricles (4 and 43) do.
    mask = voxels(study.made("space-MEGRE_label-CSF_desc-reference_mask")) > 0
    ventricles = voxels(study.made("space-MEGRE_desc-deepgray_dseg"))
    left, right = (ndimage.distance_transform_edt(ventricles != side) for side in (4, 43))
    reference = np.where(mask, 1 + (left > right), 0)
    return {"thalamus": thalamus, "csf_reference": reference}


@pytest.mark.parametrize(
    ("region", "hemisphere"),
    [*(("thalamus", hemisphere) for hemisphere in SIDES), ("csf_reference", "LR")],
)
def test_means_are_those_of_the_map_in_the_mask(study: Study, region: str, hemisphere: str) -> None:
    check_means(study, region, hemisphere)


@pytest.mark.parametrize("hemisphere", ["L", "R"])
def test_means_of_either_atrium_are_those_of_the_map(seam_study: Study, hemisphere: str) -> None:
    # The fluid of the tiny head is in one piece; only a real anatomy has two atria.
    check_means(seam_study, "csf_reference", hemisphere)


def check_means(study: Study, region: str, hemisphere: str) -> None:
    inside = np.isin(regions(study)[region], SIDES[hemisphere])
    chi_ppb = 1000 * voxels(study.made("Chimap")).astype(float)[inside]
    rate = voxels(study.made("R2starmap")).astype(float)[inside]
    expected = {
        "chi_mean": (chi_ppb.mean(), "ppb"),
        "chi_sd": (chi_ppb.std(ddof=1), "ppb"),
        "chi_median": (np.median(chi_ppb), "ppb"),
        "r2star_mean": (rate.mean(), "1/s"),
    }
    for measure, (value, unit) in expected.items():
        row = study.row(measure, region, hemisphere)
        assert float(row["value"]) == pytest.approx(value, rel=1e-4), measure
        assert row["unit"] == unit
        assert int(row["n_voxels"]) == inside.sum()


def test_relative_susceptibility_is_region_minus_reference(study: Study) -> None:
    zero = study.value("chi_mean", "csf_reference", "LR")
    brain = study.value("chi_mean", "brain")
    everywhere = study.value("chi_mean", "csf_global", "LR")
    relative = study.measures[study.measures["measure"] == "chi_relative_csf"]
    assert len(relative) >= 3
    for _, row in relative.iterrows():
        place = row["region"], row["hemisphere"]
        own = study.value("chi_mean", *place)
        assert float(row["value"]) == pytest.approx(own - zero, abs=1e-4), place
        if row["region"] == "normal_appearing_white_matter" or ":" in row["region"]:
            continue  # what lesions are compared with, and an atlas, have no other reference
        assert study.value("chi_relative_csf_global", *place) == pytest.approx(
            own - everywhere, abs=1e-4
        )
        assert study.value("chi_relative_brain", *place) == pytest.approx(own - brain, abs=1e-4)


def test_the_interval_is_1_96_standard_errors_to_both_sides(study: Study) -> None:
    reach = stats.norm.ppf(0.975)
    errors = study.measures[study.measures["measure"] == "chi_relative_csf_se"]
    for _, row in errors.iterrows():
        place = row["region"], row["hemisphere"]
        value, error = study.value("chi_relative_csf", *place), float(row["value"])
        low, high = (study.value(f"chi_relative_csf_ci_{end}", *place) for end in ("low", "high"))
        assert low == pytest.approx(value - reach * error, abs=1e-6), place
        assert high == pytest.approx(value + reach * error, abs=1e-6), place


def test_both_sides_are_the_sum_of_voxels_and_their_weighted_mean(study: Study) -> None:
    table = study.measures[study.measures["measure"] == "chi_mean"]
    pairs = table[table["hemisphere"] == "LR"]["region"]
    compared = 0
    for region in pairs:
        sides = table[(table["region"] == region) & table["hemisphere"].isin(["L", "R"])]
        if len(sides) < 2:
            continue
        count, value = (sides[name].astype(float).to_numpy() for name in ("n_voxels", "value"))
        both = study.row("chi_mean", region, "LR")
        assert float(both["n_voxels"]) == count.sum(), region
        assert float(both["value"]) == pytest.approx(np.average(value, weights=count)), region
        if both["n_lost"] != "n/a":
            assert float(both["n_lost"]) == sides["n_lost"].astype(float).sum(), region
        compared += 1
    assert compared >= 3


def test_volumes_of_both_sides_are_sums_in_cubic_millimetres(study: Study) -> None:
    table = study.measures[study.measures["measure"] == "volume"]
    assert set(table["unit"]) == {"mm3"}
    left, right, both = (study.value("volume", "thalamus", side) for side in ("L", "R", "LR"))
    assert both == pytest.approx(left + right)
    assert 3000 < both < 40000  # no millilitres, no litres


def test_volumes_of_labels_are_their_voxels(study: Study) -> None:
    """Where labels are on T1w they count there, else on the gradient echo."""
    endings = ("space-T1w_desc-deepgray_dseg", "space-MEGRE_desc-deepgray_dseg")
    place = next(e for e in endings if (study.anat / f"{NAME}_{e}.nii.gz").exists())
    image = study.made(place)
    voxel_mm3 = abs(np.linalg.det(image.affine[:3, :3]))
    for region, side, label in (("lateral_ventricle", "L", 4), ("lateral_ventricle", "R", 43)):
        expected = (voxels(image) == label).sum() * voxel_mm3
        assert study.value("volume", region, side) == pytest.approx(expected, rel=1e-3)


def test_no_row_is_there_twice_and_each_has_its_unit(study: Study) -> None:
    table = study.measures
    assert not table.duplicated(IDENTITY).any()
    assert set(table["participant_id"]) == {NAME}
    assert set(table["session_id"]) == {"n/a"}
    chi = table["measure"].str.startswith("chi_")
    assert set(table[chi]["unit"]) == {"ppb"}
    assert set(table["qc"]) <= {"include", "check", "exclude"}


def test_the_other_choices_start_from_the_number_and_say_how_far_they_move_it(
    study: Study,
) -> None:
    path = study.anat / f"{NAME}_desc-qsmthal_sensitivity.tsv"
    table = pd.read_csv(path, sep="\t", keep_default_na=False)
    for side in SIDES:
        rows = table[table["hemisphere"] == side]
        own = study.value("chi_relative_csf", "thalamus", side)
        default = rows[rows["choice"] == "default"].iloc[0]
        assert float(default["value"]) == pytest.approx(own, abs=1e-4)
        differences = rows["value"].astype(float) - own
        np.testing.assert_allclose(rows["difference"].astype(float), differences, atol=1e-4)
        brain = rows[rows["variant"] == "whole brain"].iloc[0]
        expected = study.value("chi_relative_brain", "thalamus", side)
        assert float(brain["value"]) == pytest.approx(expected, abs=1e-4)


def test_the_verdict_of_every_row_is_the_worst_of_the_checks(study: Study) -> None:
    path = study.anat / f"{NAME}_desc-qsmthal_quality.tsv"
    checks = pd.read_csv(path, sep="\t", keep_default_na=False)
    order = ["include", "check", "exclude"]
    worst = max(checks["verdict"], key=order.index)
    assert set(study.measures["qc"]) == {worst}
    failed = checks["verdict"] != "include"
    assert (checks[failed]["reason"] != "n/a").all()
    # BIDS has n/a for what is missing.
    assert not (checks == "").any(axis=None)
    values = checks.set_index("name")["value"].to_dict()
    number = study.value("chi_relative_csf", "thalamus", "LR")
    assert float(values["chi_relative_csf_ppb"]) == pytest.approx(number, abs=1e-4)
    kept = study.row("chi_mean", "thalamus", "LR")["n_voxels"]
    assert float(values["thalamus_voxels_kept"]) == float(kept)


@pytest.mark.slow
def test_lesions_of_the_table_are_those_of_the_list_and_of_the_mask(seam_study: Study) -> None:
    mask = seam_study.made("space-T1w_label-lesion_mask")
    voxel_mm3 = abs(np.linalg.det(mask.affine[:3, :3]))
    volume = seam_study.value("volume", "lesion")
    listed = pd.read_csv(
        seam_study.anat / f"{NAME}_label-lesion_lesions.tsv", sep="\t", keep_default_na=False
    )
    assert len(listed) == seam_study.value("lesion_count", "lesion")
    assert listed["volume_mm3"].sum() == pytest.approx((voxels(mask) > 0).sum() * voxel_mm3)
    assert listed["corrected_mm3"].sum() == pytest.approx(volume)
    by_place = listed.groupby("location")["corrected_mm3"].agg(["sum", "size"])
    for place, (sum_mm3, count) in by_place.iterrows():
        region = f"lesion_{str(place).replace(' ', '_')}"
        assert seam_study.value("volume", region) == pytest.approx(sum_mm3)
        assert seam_study.value("count", region) == count
    thalamus_mm3 = listed["thalamus_mm3"].astype(float).sum()
    assert seam_study.value("volume", "lesion_thalamus") == pytest.approx(thalamus_mm3)


@pytest.mark.slow
def test_enhancing_lesions_of_the_table_are_those_of_the_mask(seam_study: Study) -> None:
    mask = seam_study.made("space-T1w_label-enhancing_mask")
    voxel_mm3 = abs(np.linalg.det(mask.affine[:3, :3]))
    expected = (voxels(mask) > 0).sum() * voxel_mm3
    assert seam_study.value("volume", "enhancing") == pytest.approx(expected)
    listed = pd.read_csv(seam_study.anat / f"{NAME}_label-enhancing_lesions.tsv", sep="\t")
    assert len(listed) == seam_study.value("enhancing_count", "enhancing")


@pytest.mark.slow
def test_distinct_lesions_of_the_table_are_those_of_the_images(seam_study: Study) -> None:
    table = pd.read_csv(seam_study.anat / f"{NAME}_desc-qsmthal_lesions.tsv", sep="\t")
    listed = pd.read_csv(seam_study.anat / f"{NAME}_label-lesion_lesions.tsv", sep="\t")
    groups = table.groupby("group")["volume_mm3"].sum()
    np.testing.assert_allclose(groups, listed.set_index("id")["volume_mm3"])
    labels = seam_study.made("space-T1w_desc-lesions_dseg")
    counts = np.bincount(voxels(labels).astype(int).ravel())[1:]
    voxel_mm3 = abs(np.linalg.det(labels.affine[:3, :3]))
    np.testing.assert_allclose(table["volume_mm3"], counts * voxel_mm3)
    assert seam_study.value("lesion_count_distinct", "lesion") == len(table) >= len(listed)
    described = json.loads((seam_study.anat / f"{NAME}_desc-qsmthal_lesions.json").read_text())
    assert list(described) == list(table)


@pytest.mark.slow
def test_susceptibility_of_lesions_is_that_of_the_map(seam_study: Study) -> None:
    table = pd.read_csv(seam_study.anat / f"{NAME}_desc-qsmthal_lesions.tsv", sep="\t")
    labels = voxels(seam_study.made("space-MEGRE_desc-lesions_dseg"))
    chi_ppb = 1000 * voxels(seam_study.made("Chimap"))
    white_ppb = seam_study.value("chi_mean", "normal_appearing_white_matter")
    whole = table[(table["vein_share"] == 0) & (table["lost_share"] == 0)]
    assert len(whole) > 20
    means = [chi_ppb[labels == number].mean() - white_ppb for number in whole["id"]]
    np.testing.assert_allclose(whole["chi_relative_nawm_ppb"], means, atol=1e-3)
    known = table.dropna(subset="chi_relative_nawm_ppb")
    weighted = np.average(known["chi_relative_nawm_ppb"], weights=known["volume_mm3"])
    assert seam_study.value("chi_relative_nawm_weighted", "lesion") == pytest.approx(weighted)
    rims = table["id"][table["rim"] == "present"]
    assert seam_study.value("rim_count", "lesion") == len(rims)
    painted = voxels(seam_study.made("space-MEGRE_label-rim_mask")) > 0
    np.testing.assert_array_equal(painted, np.isin(labels, rims))
