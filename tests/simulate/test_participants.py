import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from bids_qsmthal import simulate
from bids_qsmthal.core import nifti
from bids_qsmthal.core.image import resample
from bids_qsmthal.simulate.cohort import Planned

pytestmark = pytest.mark.slow


def complex_echoes(participant):
    scans = {scan.name: scan for scan in participant.scans}
    echoes = []
    for echo in (1, 2, 3):
        magnitude = scans[f"echo-{echo}_part-mag_MEGRE"].image.data.astype(float)
        phase = scans[f"echo-{echo}_part-phase_MEGRE"].image.data * np.pi / 4096
        echoes.append(magnitude * np.exp(1j * phase))
    return echoes


def images(participant):
    return participant.truth.images


def test_phase_grows_from_echo_to_echo_as_the_true_field_says(small_participant):
    echoes = complex_echoes(small_participant)
    turn = np.angle(echoes[1] * np.conj(echoes[0]))
    field_hz = images(small_participant)["desc-total_fieldmap"].data
    brain = images(small_participant)["space-MEGRE_desc-brain_mask"].data > 0
    calm = ndimage.binary_erosion(brain, iterations=2) & (np.abs(field_hz) < 60)
    expected = 2 * np.pi * 0.004 * field_hz[calm]
    assert calm.sum() > 5000
    assert np.std(expected) > 0.1
    assert np.median(np.abs(turn[calm] - expected)) < 0.03
    assert np.polyfit(expected, turn[calm], 1)[0] == pytest.approx(1.0, abs=0.02)


def test_magnitude_decays_as_the_true_relaxation_says(small_participant):
    echoes = [np.abs(echo) for echo in complex_echoes(small_participant)]
    rate_hz = np.log(np.maximum(echoes[0], 1) / np.maximum(echoes[2], 1)) / 0.008
    true_hz = images(small_participant)["R2starmap"].data
    white = images(small_participant)["Chimap"].data < -0.025
    inner = ndimage.binary_erosion(white)
    assert np.median(rate_hz[inner] - true_hz[inner]) == pytest.approx(0, abs=1.5)


def test_left_is_left_in_every_space(small_participant):
    for name in ("space-T1w_desc-deepgray_dseg", "space-MEGRE_desc-deepgray_dseg"):
        image = images(small_participant)[name]
        middles = []
        for label in (1, 2):
            index = np.argwhere(image.data == label).mean(axis=0)
            middles.append(image.affine @ (*index, 1))
        assert middles[0][0] < middles[1][0] - 10, name


def test_the_matrices_lay_the_scans_over_each_other(small_participant):
    on_t1w = images(small_participant)["space-T1w_desc-deepgray_dseg"]
    on_gre = images(small_participant)["space-MEGRE_label-thalamus_mask"]
    to_t1w = np.array(small_participant.truth.numbers["world_gre_to_t1w"])
    both = on_t1w.like(np.isin(on_t1w.data, (1, 2)).astype(np.float32))
    carried = resample(both, on_gre, world=to_t1w).data >= 0.5
    unmoved = resample(both, on_gre).data >= 0.5
    true = on_gre.data > 0

    def dice(a, b):
        return 2 * (a & b).sum() / (a.sum() + b.sum())

    assert dice(carried, true) > 0.8
    assert dice(carried, true) > dice(unmoved, true)


def test_the_slab_is_tilted_and_b0_with_it(small_participant):
    b0 = small_participant.truth.numbers["b0_direction_image_axes"]
    grid = images(small_participant)["Chimap"].grid
    np.testing.assert_allclose(b0, grid.b0_direction)
    assert b0[2] == pytest.approx(np.cos(np.deg2rad(20)), abs=1e-6)


def test_true_volumes_are_those_of_the_masks(small_participant):
    volumes = small_participant.truth.numbers["volume_mm3"]
    tissue = images(small_participant)["space-T1w_dseg"]
    voxel = tissue.voxel_volume_mm3
    for label, name, tolerance in (
        (1, "csf", 0.1),
        (2, "gray_matter", 0.03),
        (3, "white_matter", 0.05),
    ):
        counted = (tissue.data == label).sum() * voxel
        assert counted == pytest.approx(volumes[name], rel=tolerance), name
    deep = images(small_participant)["space-T1w_desc-deepgray_dseg"].data
    # The tail of a caudate is as thin as these voxels of 2 mm.
    for label, name, tolerance in (
        (1, "thalamus_L", 0.03),
        (2, "thalamus_R", 0.03),
        (3, "caudate_L", 0.06),
    ):
        assert (deep == label).sum() * voxel == pytest.approx(volumes[name], rel=tolerance), name
    lesion = images(small_participant)["space-T1w_label-lesion_mask"].data
    assert volumes["lesion"] == lesion.sum() * voxel
    assert volumes["intracranial"] == (tissue.data > 0).sum() * voxel


def test_scans_of_the_head_alone_are_those_of_the_whole_participant(
    small_parameters, small_participant
):
    alone = simulate.head_scans(small_parameters, 11)
    whole = {scan.name: scan for scan in small_participant.scans}
    assert [scan.name for scan in alone.scans] == ["T1w", "ce-gadolinium_T1w", "FLAIR"]
    for scan in alone.scans:
        np.testing.assert_array_equal(scan.image.data, whole[scan.name].image.data)
    for name, value in alone.truth.numbers.items():
        assert small_participant.truth.numbers[name] == value


def test_a_flair_in_3d_of_a_head_without_lesions(small_parameters):
    parameters = replace(small_parameters, lesion_ml=0.0, enhancing=0, flair_thickness=1)
    made = simulate.head_scans(parameters, 11)
    flair = next(scan for scan in made.scans if scan.name == "FLAIR")
    assert flair.image.grid.voxel_size_mm == pytest.approx((2.0, 2.0, 2.0))
    assert flair.sidecar["MRAcquisitionType"] == "3D"
    assert flair.sidecar["SliceThickness"] == 2.0
    assert made.truth.numbers["lesion_count"] == 0
    assert not made.truth.images["space-T1w_label-lesion_mask"].data.any()


def test_enhancing_lesions_have_the_size_asked_for_as_far_as_white_matter_goes(small_parameters):
    found = []
    for radius_mm in (3.0, 6.0):
        radii = (radius_mm, radius_mm)
        parameters = replace(small_parameters, enhancing=2, enhancing_radius_mm=radii)
        made = simulate.head_scans(parameters, 11)
        volume_mm3 = made.truth.numbers["volume_mm3"]["enhancing"]
        assert 0.5 < volume_mm3 / (2 * 4 / 3 * np.pi * radius_mm**3) < 1.1
        found.append(volume_mm3)
    assert found[1] > 4 * found[0]


def test_lesions_have_about_the_volume_asked_for_and_light_up_on_flair(small_participant):
    assert small_participant.truth.numbers["volume_mm3"]["lesion"] == pytest.approx(12e3, rel=0.2)
    scans = {scan.name: scan.image for scan in small_participant.scans}
    lesion = images(small_participant)["space-FLAIR_label-lesion_mask"].data > 0
    flair = scans["FLAIR"].data
    around = ndimage.binary_dilation(lesion, iterations=2) & ~lesion
    assert flair[lesion].mean() > 1.15 * flair[around].mean()


def test_gadolinium_lights_up_the_enhancing_lesions_alone(small_participant):
    scans = {scan.name: scan.image for scan in small_participant.scans}
    gad = np.array(small_participant.truth.numbers["world_gad_to_t1w"])
    after = resample(scans["ce-gadolinium_T1w"], scans["T1w"], world=np.linalg.inv(gad)).data
    gain = after / np.maximum(scans["T1w"].data, 1)
    enhancing = images(small_participant)["space-T1w_label-enhancing_mask"].data > 0
    others = images(small_participant)["space-T1w_label-lesion_mask"].data > 0
    others &= ~ndimage.binary_dilation(enhancing, iterations=2)
    assert small_participant.truth.numbers["enhancing_count"] == 1
    assert np.median(gain[enhancing]) > 1.4 * np.median(gain[others])


def test_the_true_relative_susceptibility_is_the_one_asked_for(small_participant, small_parameters):
    numbers = small_participant.truth.numbers
    relative = numbers["chi_relative_csf"]
    assert relative["LR"] == pytest.approx(small_parameters.thalamus_chi_ppb, abs=1.5)
    assert relative["L"] != relative["R"]
    assert 80 < numbers["roi_chi_relative_csf"]["pallidum"] < 160
    assert abs(numbers["chi_csf_ppb"]) < 3


def test_the_field_in_the_brain_is_that_of_a_head_at_three_tesla(small_participant):
    brain = images(small_participant)["space-MEGRE_desc-brain_mask"].data > 0
    total = images(small_participant)["desc-total_fieldmap"].data[brain]
    local = images(small_participant)["desc-local_fieldmap"].data[brain]
    assert 15 < total.std() < 80
    assert 0.4 < local.std() < 4
    assert np.percentile(total, 99.5) > 80


@pytest.mark.slow
def test_the_same_seed_gives_the_same_images(small_participant, small_parameters):
    again = simulate.participant(small_parameters, 11)
    for first, second in zip(small_participant.scans, again.scans, strict=True):
        np.testing.assert_array_equal(first.image.data, second.image.data)
    assert again.truth.numbers == small_participant.truth.numbers


@pytest.fixture(scope="module")
def written(tmp_path_factory, small_parameters):
    folder = tmp_path_factory.mktemp("cohort")
    cohort = [
        Planned(
            label=f"{number:02d}",
            seed=number,
            parameters=replace(small_parameters, vendor=simulate.VENDORS[vendor], t1w_voxel_mm=4.0),
            age=40.0,
            sex="F",
            disease_duration=5.0,
            dmt=1,
            edss=2.0,
        )
        for number, vendor in enumerate(("philips", "ge-chopped"), start=1)
    ]
    simulate.write_dataset(folder / "bids", cohort)
    return folder


def test_the_dataset_is_valid_bids(written):
    beside = Path(sys.executable).parent
    validator = shutil.which(
        "bids-validator-deno", path=f"{beside}{os.pathsep}{os.environ['PATH']}"
    )
    if validator is None:
        assert os.environ.get("CI") != "true", "bids-validator-deno is not installed"
        pytest.skip("bids-validator-deno is not installed")
    run = subprocess.run(
        [validator, str(written / "bids"), "--json"], capture_output=True, text=True, check=False
    )
    issues = json.loads(run.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []


def test_another_seed_is_another_person(written):
    truths = [json.loads((written / f"truth/sub-0{n}/truth.json").read_text()) for n in (1, 2)]
    assert truths[0]["volume_mm3"] != truths[1]["volume_mm3"]


def test_milliradians_come_back_from_the_file(written):
    phase = nifti.load(written / "bids/sub-01/anat/sub-01_echo-2_part-phase_MEGRE.nii.gz").data
    assert 3000 < phase.max() <= 1000 * np.pi
    assert -1000 * np.pi <= phase.min() + 1e-2 < -3000


def test_neighbouring_slices_of_a_chopped_scan_are_opposite(written):
    folder = written / "bids/sub-02/anat"
    real, imaginary = (
        nifti.load(folder / f"sub-02_echo-1_part-{part}_MEGRE.nii.gz").data
        for part in ("real", "imag")
    )
    signal = real + 1j * imaginary
    brain = nifti.load(written / "truth/sub-02/sub-02_space-MEGRE_desc-brain_mask.nii.gz").data > 0
    both = brain[:, :, 1:] & brain[:, :, :-1]
    between = np.angle(signal[:, :, 1:] * np.conj(signal[:, :, :-1]))[both]
    assert np.median(np.abs(between)) > 2.5
