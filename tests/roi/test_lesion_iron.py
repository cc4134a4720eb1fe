"""Each lesion is measured against white matter without lesions and against CSF."""

from dataclasses import replace

import numpy as np
import pytest

from bids_qsmthal.core.grid import Grid
from bids_qsmthal.core.image import Image
from bids_qsmthal.roi.lesion_iron import (
    COLUMNS,
    LesionImages,
    LesionScan,
    carried,
    lesion_iron,
    marked,
    measured_lesions,
)
from bids_qsmthal.roi.rim_field import unexplained_ppb
from bids_qsmthal.roi.rims import RimRule
from bids_qsmthal.simulate.fields import dipole_field

SHAPE = (60, 40, 30)
RULE = RimRule()


def field_of(chi: np.ndarray) -> np.ndarray:
    """Return the local field of a susceptibility by the simulator."""
    return dipole_field(chi.astype(np.float32), Grid(SHAPE), padding=1.5)


@pytest.fixture(scope="module")
def images():
    """White matter at -20 ppb, CSF at 30, a rim, a solid lesion, and a small one half lost."""
    x, y, z = np.indices(SHAPE)

    def ball(centre, radius):
        return sum((p - c) ** 2 for p, c in zip((x, y, z), centre, strict=True)) < radius**2

    chi = np.random.default_rng(3).normal(-20, 2, SHAPE)
    reference = x >= 55
    chi[reference] += 50
    labels = np.zeros(SHAPE, np.int32)
    for number, (centre, radius) in enumerate(
        (((12, 14, 15), 6), ((34, 14, 15), 6), ((24, 33, 15), 2)), start=1
    ):
        labels[ball(centre, radius)] = number
    chi[(labels == 1) & ~ball((12, 14, 15), 4.2)] += 50
    chi[labels == 2] += 30
    veins = (x == 34) & (y == 14) & (z > 3) & (z < 27)
    chi[veins] = 400
    usable = np.ones(SHAPE, bool)
    usable[(labels == 3) & (x >= 24)] = False
    known = np.where(usable, chi, 0).astype(np.float32)
    return LesionImages(
        labels=labels,
        chi_ppb=known,
        usable=usable,
        veins=veins,
        white=~reference,
        reference=reference,
        voxel_size_mm=(1.0, 1.0, 1.0),
        unexplained_ppb=unexplained_ppb(known, field_of(chi), usable, Grid(SHAPE)),
        noise_ppb=np.full(SHAPE, 2, np.float32),
        b0_direction=(0.0, 0.0, 1.0),
        r2star_hz=np.where(labels == 2, 25, 18).astype(np.float32),
    )


def test_each_lesion_has_its_susceptibility_against_white_matter_and_csf(images):
    table = lesion_iron(images, rule=RULE).set_index("id")
    assert list(table.index) == [1, 2, 3]
    assert table.loc[2, "chi_relative_nawm_ppb"] == pytest.approx(30, abs=0.5)
    assert table.loc[2, "chi_relative_csf_ppb"] == pytest.approx(-20, abs=0.5)
    assert table.loc[2, "r2star_hz"] == pytest.approx(25)
    # Independent noise of 2 ppb in n voxels.
    expected = 2 / np.sqrt(table.loc[2, "n_voxels"])
    assert table.loc[2, "chi_relative_nawm_ppb_se"] == pytest.approx(expected, rel=0.6)
    assert table.loc[2, "chi_relative_csf_ppb_se"] > table.loc[2, "chi_relative_nawm_ppb_se"]


def test_only_the_lesion_with_a_rim_is_called_one(images):
    table = lesion_iron(images, rule=RULE).set_index("id")
    assert table.loc[1, "rim_probability"] > 0.9
    assert table.loc[1, "rim_minus_core_ppb"] == pytest.approx(50, abs=8)
    assert table.loc[1, "rim_evidence"] > max(20, 5 * table.loc[2, "rim_evidence"])
    assert table.loc[2, "rim_probability"] < 0.4
    assert np.isnan(table.loc[3, "rim_probability"])


def test_what_is_lost_or_vein_is_said_and_not_measured(images):
    table = lesion_iron(images, rule=RULE).set_index("id")
    lesion = images.labels == 3
    assert table.loc[3, "lost_share"] == pytest.approx((~images.usable[lesion]).mean())
    assert table.loc[3, "n_voxels"] == (lesion & images.usable).sum()
    assert table.loc[3, "chi_relative_nawm_ppb"] == pytest.approx(0, abs=2)
    share = images.veins[images.labels == 2].mean()
    assert table.loc[2, "vein_share"] == pytest.approx(share)


def test_white_matter_beside_a_lesion_is_not_called_normal(images):
    chi = images.chi_ppb.copy()
    chi[np.roll(images.labels == 2, 1, axis=0) & (images.labels == 0)] = 1000
    moved = lesion_iron(replace(images, chi_ppb=chi), rule=RULE).set_index("id")
    assert moved.loc[2, "chi_relative_nawm_ppb"] == pytest.approx(30, abs=0.5)


def test_what_cannot_be_known_is_missing(images):
    lost = replace(images, usable=np.zeros(SHAPE, bool), r2star_hz=None)
    table = lesion_iron(lost, rule=RULE)
    assert (table["lost_share"] == 1).all()
    known = ["id", "n_voxels", "lost_share", "vein_share"]
    assert table.drop(columns=known).isna().all(axis=None)
    none = lesion_iron(replace(images, labels=np.zeros(SHAPE, np.int32)), rule=RULE)
    assert list(none.columns) == COLUMNS
    assert none.empty


def on_t1w(labels: np.ndarray) -> Image:
    """Put labels on a grid of 1 mm whose world is 7 mm to the right of that of the echoes."""
    affine = np.eye(4)
    affine[0, 3] = 7
    return Image(labels, affine)


SHIFT = np.array([[1.0, 0, 0, 7], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
THICK = Image(np.zeros((30, 20, 10), np.float32), np.diag([2.0, 2.0, 3.0, 1.0]))


def test_lesions_keep_their_volume_and_number_on_thick_voxels(images) -> None:
    moved = carried(on_t1w(images.labels), THICK, SHIFT)
    volumes = [(images.labels == number).sum() for number in (1, 2)]
    assert [12 * (moved == number).sum() for number in (1, 2)] == pytest.approx(volumes, rel=0.12)
    # Centres in voxels of the thick grid: x / 2, y / 2, (z - 1) / 3 less half a voxel and more.
    centre = np.argwhere(moved == 1).mean(axis=0) * (2, 2, 3)
    assert centre == pytest.approx((12, 14, 15), abs=0.7)


def test_a_lesion_that_fills_no_voxel_by_half_is_not_carried() -> None:
    speck = np.zeros(SHAPE, np.int32)
    speck[10, 10, 10] = 4
    assert not carried(on_t1w(speck), THICK, SHIFT).any()
    assert not carried(on_t1w(0 * speck), THICK, SHIFT).any()


@pytest.fixture(scope="module")
def measured(images):
    """The same lesions as a scan: labels and white matter on T1w, one voxel without a number."""
    place = Image(np.zeros(SHAPE, np.float32), np.eye(4))
    chi = images.chi_ppb / np.float32(1000)
    chi[30, 5, 5] = np.nan
    scan = LesionScan(
        labels=on_t1w(images.labels),
        white=on_t1w(images.white.astype(np.float32)),
        gre_to_t1w=SHIFT,
        chi_ppm=place.like(chi),
        field_ppm=place.like(
            (images.unexplained_ppb + field_of(images.chi_ppb)) / np.float32(1000)
        ),
        noise_ppm=place.like(images.noise_ppb / np.float32(1000)),
        usable=place.like(images.usable),
        veins=place.like(images.veins),
        reference=place.like(images.reference),
        r2star_hz=place.like(images.r2star_hz),
    )
    return scan, measured_lesions(scan, rule=RULE)


def test_a_scan_gives_what_its_arrays_give(images, measured) -> None:
    scan, found = measured
    expected = lesion_iron(images, rule=RULE)
    np.testing.assert_allclose(
        found.table.to_numpy(float), expected.to_numpy(float), rtol=1e-3, atol=1e-3
    )
    assert found.normal_white_ppb.value == pytest.approx(-20, abs=0.1)
    assert found.csf_ppb.value == pytest.approx(30, abs=0.1)
    assert found.normal_white_r2star_hz == pytest.approx(18)
    single = measured_lesions(replace(scan, r2star_hz=None), rule=RULE)
    assert single.table["r2star_hz"].isna().all()
    assert np.isnan(single.normal_white_r2star_hz)


def test_a_mask_marks_the_lesions_it_covers_and_not_those_it_touches(images) -> None:
    shell = images.labels == 1
    shell[6:19, 8:21, 12:19] = False  # what is left are two caps
    assert 0.1 < shell.sum() / (images.labels == 1).sum() < 0.4
    stroke = images.labels == 2
    stroke[30:] = False
    assert 0 < stroke.sum() < 0.1 * (images.labels == 2).sum()
    assert marked(images.labels, shell | stroke).tolist() == [1]
    assert marked(images.labels, np.ones(SHAPE, bool)).tolist() == [1, 2, 3]
    assert marked(0 * images.labels, np.ones(SHAPE, bool)).tolist() == []


def test_two_voxels_that_agree_by_chance_are_not_known_better_than_white_matter_lets_them(images):
    labels = np.zeros(SHAPE, np.int32)
    labels[20, 20, 15:17] = 1
    chi = np.random.default_rng(4).normal(-20, 2, SHAPE).astype(np.float32)
    chi[labels == 1] = 5
    for voxels in (1, 2):
        few = np.where(np.cumsum(labels == 1).reshape(SHAPE) <= voxels, labels, 0)
        table = lesion_iron(replace(images, labels=few, chi_ppb=chi), rule=RULE).set_index("id")
        # White matter spreads by 2 ppb.
        assert table.loc[1, "chi_relative_nawm_ppb_se"] == pytest.approx(2 / voxels**0.5, rel=0.1)


def test_without_a_field_that_is_believed_nothing_is_said_of_rims(images) -> None:
    blind = replace(images, noise_ppb=np.full(SHAPE, np.inf, np.float32))
    table = lesion_iron(blind, rule=RULE)
    assert table[["rim_evidence", "rim_probability"]].isna().all(axis=None)
    assert table["rim_closed"].notna().any()
