import numpy as np
import pytest

from bids_qsmthal.simulate.compositions import DEEP_LABELS, Chunk
from bids_qsmthal.simulate.gradient_echo import FineModel
from bids_qsmthal.simulate.tissues import NAMES, ROW
from bids_qsmthal.simulate.truth import susceptibility_values

CALCIFIED_PPM = -0.6


def model_with_a_calcification():
    """Atria of pure CSF round a calcification whose border shares its voxels with CSF."""
    shape = (20, 24, 12)
    fraction = np.zeros(shape, np.float32)
    fraction[4:7, 4:8, 4:8] = 0.2
    fraction[5, 5:7, 5:7] = 1.0
    masks = {
        name: np.zeros(shape, np.bool_)
        for name in ("brain", "ventricle", "atria", "plexus", "plexus_trace", "lesion")
    }
    masks["brain"][:] = True
    masks["atria"][:10] = masks["ventricle"][:10] = True
    masks["plexus"] = fraction >= 0.5
    masks["plexus_trace"] = fraction > 0
    deep = np.zeros(shape, np.uint8)
    deep[15:], deep[15:, :6] = 1, 2
    for label in range(1, len(DEEP_LABELS) + 1):
        deep[19, label] = label
    chi = CALCIFIED_PPM * fraction
    chi[deep > 0] = -0.020
    zeros = np.zeros(shape, np.float32)
    return FineModel(
        affine=np.eye(4),
        chi_ppm=chi.astype(np.float32),
        r2star_hz=zeros,
        spin_density=zeros,
        deep=deep,
        vein=zeros,
        **masks,
    )


def test_voxels_that_share_themselves_with_a_calcification_are_no_reference():
    found = susceptibility_values(model_with_a_calcification())

    assert found["chi_csf_ppb"] == pytest.approx(0.0, abs=1e-6)
    assert found["chi_relative_csf"]["LR"] == pytest.approx(-20.0, abs=1e-3)


def test_structures_beyond_the_end_of_a_slab_have_no_truth():
    model = model_with_a_calcification()
    whole = susceptibility_values(model)["roi_chi_relative_csf"]
    caudate = np.isin(model.deep, (3, 4))
    model.deep[caudate] = 0
    found = susceptibility_values(model)["roi_chi_relative_csf"]
    assert set(whole) - set(found) == {"caudate"}
    assert {name: whole[name] for name in found} == found


def test_a_trace_of_calcification_is_told_from_none():
    fractions = np.zeros((len(NAMES), 3), np.float32)
    fractions[ROW["calcification"]] = (0.0, 0.03, 0.8)
    fractions[ROW["csf"]] = 1 - fractions[ROW["calcification"]]

    masks = Chunk(np.arange(3), fractions).masks()

    assert masks["plexus"].tolist() == [False, False, True]
    assert masks["plexus_trace"].tolist() == [False, True, True]
