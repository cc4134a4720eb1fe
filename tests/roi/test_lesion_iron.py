"""Each lesion is measured against white matter without lesions and against CSF."""

from dataclasses import replace

import numpy as np
import pytest

from bids_qsmthal.roi.lesion_iron import COLUMNS, LesionImages, lesion_iron
from bids_qsmthal.roi.rims import RimRule

SHAPE = (60, 40, 30)
RULE = RimRule()


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
    veins = (labels == 2) & (x == 34) & (y == 14)
    chi[veins] = 400
    usable = np.ones(SHAPE, bool)
    usable[(labels == 3) & (x >= 24)] = False
    return LesionImages(
        labels=labels,
        chi_ppb=np.where(usable, chi, 0).astype(np.float32),
        usable=usable,
        veins=veins,
        white=~reference,
        reference=reference,
        voxel_size_mm=(1.0, 1.0, 1.0),
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
    assert table.loc[2, "rim_probability"] < 0.4
    assert np.isnan(table.loc[3, "rim_probability"])


def test_what_is_lost_or_vein_is_said_and_not_measured(images):
    table = lesion_iron(images, rule=RULE).set_index("id")
    lesion = images.labels == 3
    assert table.loc[3, "lost_share"] == pytest.approx((~images.usable[lesion]).mean())
    assert table.loc[3, "n_voxels"] == (lesion & images.usable).sum()
    assert table.loc[3, "chi_relative_nawm_ppb"] == pytest.approx(0, abs=2)
    share = images.veins.sum() / (images.labels == 2).sum()
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
