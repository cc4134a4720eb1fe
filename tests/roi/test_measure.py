from dataclasses import replace

import numpy as np
import pytest

from bids_qsmthal import choices, roi
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.scan_warnings import ExternalMask, NoR2StarMap, ThalamusRimKept

THALAMUS_PPB = -10.0
"""Of the phantom, against its CSF."""


def _value(result, measure, region="thalamus", hemisphere="LR"):
    table = result.table.set_index(["measure", "region", "hemisphere"])
    assert table.index.is_unique
    return table.loc[(measure, region, hemisphere), "value"]


@pytest.fixture(scope="module")
def measured(head):
    return roi.measure(head.inputs())


def test_the_relative_susceptibility_is_thalamus_minus_csf_in_ppb(measured):
    for hemisphere in ("L", "R", "LR"):
        assert _value(measured, "chi_relative_csf", hemisphere=hemisphere) == pytest.approx(
            THALAMUS_PPB, abs=1.0
        )
    difference = _value(measured, "chi_mean") - _value(measured, "chi_mean", "csf_reference")
    assert _value(measured, "chi_relative_csf") == pytest.approx(difference, abs=1e-4)


@pytest.mark.parametrize(
    "size_mm", [(1.5, 1.5, 2.0), pytest.param((0.75, 0.75, 3.0), marks=pytest.mark.slow)]
)
def test_the_answer_does_not_depend_on_the_shape_of_the_voxels(head_of, size_mm):
    shape = tuple(round(extent / size) for extent, size in zip((80, 92, 64), size_mm, strict=True))
    result = roi.measure(head_of(size_mm, shape).inputs())

    assert _value(result, "chi_relative_csf") == pytest.approx(THALAMUS_PPB, abs=1.5)
    assert result.reference.region is roi.ReferenceRegion.ATRIA


@pytest.mark.slow
def test_more_iron_is_a_larger_number_and_an_offset_of_the_map_is_none(head, measured):
    more = head.chi_ppm.data + np.where(labelled(measured) > 0, 0.02, 0).astype(np.float32)
    shifted = head.chi_ppm.data + np.float32(0.5)

    second = roi.measure(head.inputs(chi_ppm=head.chi_ppm.like(more)))
    third = roi.measure(head.inputs(chi_ppm=head.chi_ppm.like(shifted)))

    gain = _value(second, "chi_relative_csf") - _value(measured, "chi_relative_csf")
    assert gain == pytest.approx(20.0, abs=0.3)
    for measure in ("chi_relative_csf", "chi_relative_brain", "chi_relative_csf_global"):
        assert _value(third, measure) == pytest.approx(_value(measured, measure), abs=0.01)


def labelled(result):
    return result.masks["thalamus_labelled"].data


def test_left_and_right_are_told_apart(head, measured):
    labels = labelled(measured)
    one_sided = head.chi_ppm.data + np.where(labels == 1, 0.03, 0).astype(np.float32)

    after = roi.measure(head.inputs(chi_ppm=head.chi_ppm.like(one_sided)))

    def gain(hemisphere):
        return _value(after, "chi_relative_csf", hemisphere=hemisphere) - _value(
            measured, "chi_relative_csf", hemisphere=hemisphere
        )

    assert gain("L") == pytest.approx(30.0, abs=0.5)
    assert gain("R") == pytest.approx(0.0, abs=0.5)
    world = np.argwhere(labels == 1) @ head.chi_ppm.affine[:3, :3].T + head.chi_ppm.affine[:3, 3]
    assert world[:, 0].mean() < 0


def test_the_masks_are_pure_and_the_vein_is_out(head, measured):
    vein = head.vein_share > 0.4
    labelled = measured.masks["thalamus_labelled"].data > 0
    final = measured.masks["thalamus"].data > 0

    assert (vein & labelled).sum() > 10
    assert (final & vein).sum() <= 0.1 * (vein & labelled).sum()
    assert final.sum() > 0.4 * labelled.sum()
    kept = measured.sensitivity.query("choice == 'veins' and hemisphere == 'LR'")
    assert kept["difference"].item() > 0.5


def test_counts_in_the_table_are_those_of_the_masks(measured):
    rows = measured.table.query("measure == 'chi_mean' and region == 'thalamus'")

    for _, row in rows.iterrows():
        sides = {"L": [1], "R": [2], "LR": [1, 2]}[row["hemisphere"]]
        kept = np.isin(measured.masks["thalamus"].data, sides).sum()
        labelled = np.isin(measured.masks["thalamus_labelled"].data, sides).sum()
        assert row["n_voxels"] == kept
        assert row["n_lost"] == labelled - kept


def test_the_table_is_tidy_and_has_r2star_beside_susceptibility(measured):
    table = measured.table

    assert list(table.columns) == [
        "measure",
        "region",
        "hemisphere",
        "value",
        "unit",
        "n_voxels",
        "n_lost",
        "method",
        "source",
        "qc",
    ]
    assert not table.duplicated(["measure", "region", "hemisphere"]).any()
    assert table["value"].notna().all()
    assert _value(measured, "r2star_mean") == pytest.approx(19.0, abs=0.5)
    assert _value(measured, "chi_relative_csf", "pallidum") == pytest.approx(120.0, abs=5.0)
    assert set(table["hemisphere"]) <= {"L", "R", "LR", "n/a"}


def test_the_interval_is_centred_and_wider_than_the_noise(measured):
    value = _value(measured, "chi_relative_csf")
    low = _value(measured, "chi_relative_csf_ci_low")
    high = _value(measured, "chi_relative_csf_ci_high")
    error = _value(measured, "chi_relative_csf_se")

    assert (low + high) / 2 == pytest.approx(value, abs=1e-3)
    assert (high - low) / 2 == pytest.approx(1.959964 * error, rel=1e-4)
    assert error >= 1.15


def test_masks_of_the_user_replace_ours_and_are_named(head, measured):
    drawn = np.zeros(head.chi_ppm.shape, dtype=np.uint8)
    ours = measured.masks["thalamus"].data
    drawn[ours > 0] = ours[ours > 0]
    drawn[:, : drawn.shape[1] // 2] = 0
    external = roi.ExternalRegions(
        thalamus=head.chi_ppm.like(drawn),
        reference=head.chi_ppm.like(measured.masks["global_csf"].data),
    )

    result = roi.measure(head.inputs(external=external))

    np.testing.assert_array_equal(result.masks["thalamus"].data, drawn)
    assert result.reference.region is roi.ReferenceRegion.EXTERNAL
    row = result.table.query("measure == 'chi_relative_csf' and region == 'thalamus'").iloc[0]
    assert row["source"] == "external"
    assert {ExternalMask("thalamus"), ExternalMask("reference")} <= set(result.warnings)


def test_an_external_thalamus_is_enough_without_t1w(head, measured):
    external = roi.ExternalRegions(thalamus=measured.masks["thalamus"])
    rule = replace(roi.ReferenceRule(), brain_erosion_mm=3.0)

    result = roi.measure(
        head.inputs(segmentation=None, external=external),
        settings=roi.RegionSettings(reference=rule),
    )

    assert result.reference.region is roi.ReferenceRegion.GLOBAL_CSF
    assert _value(result, "chi_relative_csf") == pytest.approx(THALAMUS_PPB, abs=1.5)


def test_an_external_vein_mask_is_cut_out(head, measured):
    labels = labelled(measured)
    half = np.zeros(labels.shape, dtype=bool)
    half[:, :, labels.shape[2] // 2 :] = True

    result = roi.measure(head.inputs(external=roi.ExternalRegions(veins=head.chi_ppm.like(half))))

    assert not (result.masks["thalamus"].data > 0)[half].any()


def test_a_single_echo_works_and_says_what_it_cannot_give(head):
    result = roi.measure(head.inputs(r2star_hz=None))

    assert _value(result, "chi_relative_csf") == pytest.approx(THALAMUS_PPB, abs=1.5)
    assert "r2star_mean" not in set(result.table["measure"])
    assert NoR2StarMap() in result.warnings


def test_atria_are_found_if_nobody_labelled_them(head):
    known = roi.Segmentation(deepgray=head.deepgray, gre_to_t1w=head.gre_to_t1w)

    result = roi.measure(head.inputs(segmentation=known))

    assert result.reference.region is roi.ReferenceRegion.ATRIA
    points = np.argwhere(result.masks["reference"].data > 0)
    world = points @ (head.gre_to_t1w @ head.chi_ppm.affine)[:3, :3].T
    world += (head.gre_to_t1w @ head.chi_ppm.affine)[:3, 3]
    assert (world[:, 1] < -10).all()


def test_sensitivity_holds_every_choice_and_starts_at_the_reported_value(measured):
    table = measured.sensitivity

    assert set(table["choice"]) == {"default", "veins", "rim", "lesions", "reference"}
    default = table.query("choice == 'default' and hemisphere == 'LR'")
    assert default["value"].item() == pytest.approx(_value(measured, "chi_relative_csf"), abs=1e-3)
    assert default["difference"].item() == 0
    references = table.query("choice == 'reference' and hemisphere == 'LR'").set_index("variant")
    assert references.loc["atria", "difference"] == pytest.approx(0, abs=1e-4)
    brain = references.loc["whole brain", "value"]
    assert brain == pytest.approx(_value(measured, "chi_relative_brain"), abs=1e-3)


def test_thalami_outside_the_mask_are_an_error_with_counts(head):
    empty = head.mask.like(np.zeros(head.mask.shape, dtype=bool))

    with pytest.raises(DataError, match=r"L thalamus remains of [1-9].* outside the QSM mask"):
        roi.measure(head.inputs(qsm_mask=empty))


def test_an_image_on_another_grid_is_refused(head):
    small = head.deepgray

    with pytest.raises(DataError, match="magnitude has shape"):
        head.inputs(magnitude=small)


def test_neither_segmentation_nor_mask_is_refused(head):
    with pytest.raises(DataError, match="or an external mask"):
        head.inputs(segmentation=None)


def test_voxels_without_a_number_are_not_measured(head):
    holes = head.chi_ppm.data.copy()
    holes[::3] = np.nan

    result = roi.measure(head.inputs(chi_ppm=head.chi_ppm.like(holes)))

    assert _value(result, "chi_relative_csf") == pytest.approx(THALAMUS_PPB, abs=2.0)
    counts = result.table.query("measure == 'chi_mean' and hemisphere == 'LR'")
    assert counts["value"].notna().all()


def test_the_same_input_gives_the_same_bytes(head, measured):
    again = roi.measure(head.inputs())

    assert again.table.to_csv() == measured.table.to_csv()
    for name, image in measured.masks.items():
        np.testing.assert_array_equal(again.masks[name].data, image.data)


def test_other_background_removals_are_measured_with_the_same_masks(head, measured):
    """Another map may lack a rim; only its voxels count, and the rest of the table stays."""
    paler = np.where(np.arange(head.chi_ppm.shape[2]) < 3, 0, 0.8 * head.chi_ppm.data)
    other = {"pdf": head.chi_ppm.like(paler.astype(np.float32))}

    result = roi.measure(head.inputs(backgrounds_ppm=other))

    table = result.sensitivity.set_index(["choice", "variant", "hemisphere"])
    reported = _value(measured, "chi_relative_csf")
    row = table.loc["background", "pdf", "LR"]
    assert row["value"] == pytest.approx(0.8 * reported, abs=0.3)
    assert row["difference"] == pytest.approx(row["value"] - reported, abs=1e-4)
    assert table.loc["default", "default", "LR"]["value"] == pytest.approx(reported, abs=1e-4)


def test_the_interval_reaches_to_the_background_removal_whose_error_was_measured(head, measured):
    paler = {"joint": head.chi_ppm.like((0.5 * head.chi_ppm.data).astype(np.float32))}

    result = roi.measure(head.inputs(backgrounds_ppm=paler))

    moved = 0.5 * _value(measured, "chi_relative_csf")
    before = _value(measured, "chi_relative_csf_se")
    assert _value(result, "chi_relative_csf_se") == pytest.approx(np.hypot(before, moved), rel=1e-3)


def test_the_sensitivity_table_changes_every_choice_of_masks_and_reference(measured):
    found = set(zip(measured.sensitivity["choice"], measured.sensitivity["variant"], strict=True))

    assert {
        ("veins", "not removed"),
        ("rim", "not removed"),
        ("lesions", "not removed"),
        ("reference", "atria"),
        ("reference", "ventricles"),
        ("reference", "global CSF"),
        ("reference", "whole brain"),
    } <= found


LIKE_CHIANG = choices.regions("circles", rim="keep", lesions="keep", veins="large")


@pytest.mark.slow
def test_the_way_of_the_study_measures_the_whole_thalamus_against_circles(head):
    # Half of each thalamus is a lesion on T1w.
    known = head.inputs().segmentation
    thalami = np.isin(known.deepgray.data, (10, 49))
    front = np.arange(thalami.shape[1])[:, None] > thalami.shape[1] // 2
    inputs = head.inputs(segmentation=replace(known, lesions=known.deepgray.like(thalami & front)))

    usual, study = roi.measure(inputs), roi.measure(inputs, settings=LIKE_CHIANG)

    labelled = study.masks["thalamus_labelled"].data > 0
    kept = study.masks["thalamus"].data > 0
    veins = study.masks["veins"].data > 0
    assert study.reference.region is roi.ReferenceRegion.CIRCLES
    assert kept.sum() > 2 * (usual.masks["thalamus"].data > 0).sum()
    assert not (kept & veins).any()
    assert ThalamusRimKept() not in study.warnings
    chi_ppb = 1e3 * head.chi_ppm.data.astype(float)
    circles = study.masks["reference"].data > 0
    expected = chi_ppb[kept].mean() - chi_ppb[circles].mean()
    assert _value(study, "chi_relative_csf") == pytest.approx(expected, abs=1e-3)
    assert chi_ppb[circles].mean() == pytest.approx(0, abs=1.5)
    # Rim and small vein are in: what is left out is fluid and large veins alone.
    assert (labelled & ~kept & ~veins).sum() < 0.1 * labelled.sum()


def test_the_number_by_the_default_rules_stands_beside_that_of_the_study(head, measured):
    study = roi.measure(head.inputs(), settings=LIKE_CHIANG)

    beside = study.sensitivity.set_index(["choice", "variant", "hemisphere"])["value"]
    for side in ("L", "R", "LR"):
        wanted = _value(measured, "chi_relative_csf", hemisphere=side)
        assert beside["rules", "default", side] == pytest.approx(wanted, abs=1e-6)
    assert "rules" not in set(measured.sensitivity["choice"])
