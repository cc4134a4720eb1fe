from dataclasses import replace

import numpy as np
import pytest

from bids_qsmthal import simulate
from bids_qsmthal.simulate.effects import PLAIN
from bids_qsmthal.simulate.scenarios import turned

PEOPLE = simulate.Parameters(oblique_deg=10.0)


@pytest.mark.parametrize("name", [name for name in simulate.SCENARIOS if name != "plain"])
def test_every_scenario_differs_from_the_plain_scan(name):
    parameters, effects = simulate.SCENARIOS[name].applied(PEOPLE)
    assert (parameters, effects) != (PEOPLE, PLAIN)


def test_the_plain_scenario_changes_nothing():
    assert simulate.SCENARIOS["plain"].applied(PEOPLE) == (PEOPLE, PLAIN)


def test_echoes_of_other_fields_have_the_phase_of_those_at_three_tesla():
    plain = PEOPLE.protocol.acquisition
    for name, field_t in (("1.5t", 1.5), ("7t", 7.0)):
        found = simulate.SCENARIOS[name].applied(PEOPLE)[0].protocol.acquisition
        assert found.field_strength_t == field_t
        turns = np.array(found.echo_times_s) * found.centre_frequency_hz
        expected = np.array(plain.echo_times_s) * plain.centre_frequency_hz
        np.testing.assert_allclose(turns, expected, rtol=1e-3)


@pytest.mark.parametrize("protocol", simulate.PROTOCOLS.values(), ids=str)
def test_sagittal_slices_cover_the_same_box(protocol):
    found = turned(protocol)
    before = np.array(protocol.shape) * protocol.voxel_size_mm
    after = np.array(found.shape) * found.voxel_size_mm
    np.testing.assert_allclose(after, before[[2, 1, 0]], atol=2 * max(found.voxel_size_mm))


@pytest.mark.parametrize("protocol", simulate.PROTOCOLS.values(), ids=str)
@pytest.mark.parametrize("name", ["slab-to-thalamus", "slab-from-below"])
def test_slabs_lie_within_the_protocol(name, protocol):
    slab = simulate.SCENARIOS[name].applied(replace(PEOPLE, protocol=protocol))[1].slab
    assert 0 <= slab.first < slab.first + slab.slices <= protocol.shape[2]


@pytest.fixture(scope="module")
def scanned(small_parameters):
    """One person of 4 mm, each scan with scenarios that touch different things."""

    def scan(*names):
        parameters = replace(small_parameters, lesion_ml=1.0, enhancing=0)
        effects = PLAIN
        for name in names:
            parameters, found = simulate.SCENARIOS[name].applied(parameters)
            effects = effects if found == PLAIN else found
        return simulate.gradient_echo_scan(parameters, 5, effects)

    return {
        "plain": scan("plain"),
        "7t": scan("7t", "flow"),
        "sagittal": scan("sagittal", "frequency", "tissue-below-csf"),
        "slab": scan("slab-to-thalamus"),
    }


def image(made, name):
    return made.truth.images[name].data


def field_hz(made):
    """Spread of the local field in the brain."""
    brain = image(made, "space-MEGRE_desc-brain_mask") > 0
    return float(image(made, "desc-local_fieldmap")[brain].std())


@pytest.mark.slow
def test_fields_in_hertz_follow_the_frequency(scanned):
    plain = field_hz(scanned["plain"])
    assert field_hz(scanned["7t"]) / plain == pytest.approx(7 / 3, rel=1e-3)
    sidecar = scanned["sagittal"].scans[0].sidecar
    assert (sidecar["MagneticFieldStrength"], sidecar["ImagingFrequency"]) == (3.0, 123.2)
    assert "ImagingFrequency" not in scanned["plain"].scans[0].sidecar


@pytest.mark.slow
def test_sagittal_slices_run_from_side_to_side_and_up_is_up(scanned):
    made = scanned["sagittal"]
    affine = made.scans[0].image.affine
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    assert np.abs(axes[0, 2]) == pytest.approx(1)
    b0 = np.abs(made.truth.numbers["b0_direction_image_axes"])
    assert b0 == pytest.approx((1, 0, 0), abs=1e-6)
    brain = image(made, "space-MEGRE_desc-brain_mask")
    volume = brain.sum() / image(scanned["plain"], "space-MEGRE_desc-brain_mask").sum()
    assert volume == pytest.approx(1, abs=0.05)


@pytest.mark.slow
def test_a_slab_shows_the_thalami_and_not_the_dentate_nuclei(scanned):
    slab = scanned["slab"]
    assert slab.scans[0].image.shape[2] == 12
    assert (image(slab, "space-MEGRE_label-thalamus_mask") > 0).sum() > 80
    regions = slab.truth.numbers["roi_chi_relative_csf"]
    assert "dentate" not in regions
    assert "dentate" in scanned["plain"].truth.numbers["roi_chi_relative_csf"]


@pytest.mark.slow
def test_gray_and_white_matter_move_against_csf_and_the_thalami_do_not(scanned):
    plain, moved = scanned["plain"].truth.numbers, scanned["sagittal"].truth.numbers
    # Fine voxels on the border of the thalamus hold some white matter.
    assert moved["chi_relative_csf"] == pytest.approx(plain["chi_relative_csf"], abs=1.5)
    assert moved["chi_brain_mean_ppb"] - plain["chi_brain_mean_ppb"] == pytest.approx(-15, abs=3)
    assert "effects" in moved
    assert "effects" not in plain
