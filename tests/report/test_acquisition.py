"""The minimum of the consensus is on the page, each value as the objects hold it."""

from dataclasses import replace

import pytest

from bids_qsmthal.bids.protocol import AcquisitionProtocol
from bids_qsmthal.core.sources import EDITED, OURS, dataset
from bids_qsmthal.qsm import BACKGROUNDS, INVERSIONS, Acquisition, Reconstruction
from bids_qsmthal.qsm.inversion import Medi
from bids_qsmthal.report import MethodsRun, ParticipantReport, RegionsRun, acquisition, render
from bids_qsmthal.report.participant_page import participant_page
from bids_qsmthal.roi import ReferenceLevel, ReferenceRegion
from tests.report.test_methods import PHASE, SCAN

PROTOCOL = AcquisitionProtocol(
    sequence="multi-echo gradient echo",
    dimensions="3D",
    repetition_time_s=0.05,
    flip_angle_deg=15.0,
    pixel_bandwidth_hz=260.4,
    imaging_frequency_mhz=123.25,
    acquired_voxel_size_mm=(0.7, 0.7, 2.0),
    acquired_matrix=(384.0, 300.0),
    slice_thickness_mm=1.5,
    slice_spacing_mm=1.5,
    acceleration=2.0,
    manufacturer="Siemens",
    model="Skyra",
    coil="HeadNeck_20",
)

TIMES_S = (0.00492, 0.0242875)

RUN = MethodsRun(
    brains={"T1w": OURS},
    scan=replace(
        SCAN,
        acquisition=Acquisition(echo_times_s=TIMES_S, field_strength_t=2.89362),
        protocol=PROTOCOL,
        grid=replace(SCAN.grid, b0_direction=(0.0, 0.6, 0.8)),
    ),
    regions=RegionsRun(
        reference=ReferenceLevel(region=ReferenceRegion.ATRIA, erosion_mm=1.0, step=1),
        first_choice=ReferenceRegion.ATRIA,
    ),
)

WANTED = {
    "scanner": "Siemens, Skyra",
    "receive coil": "HeadNeck_20",
    "sequence": "multi-echo gradient echo",
    "dimensions": "3D",
    "field strength": "2.89362 T",
    "imaging frequency": "123.25 MHz",
    "repetition time": "50 ms",
    "flip angle": "15 degrees",
    "bandwidth": "260.4 Hz/pixel",
    "echo times": "4.92, 24.2875 ms",
    "acceleration in plane": "2",
    "acquired voxel size": "0.7, 0.7, 2 mm",
    "acquired matrix": "384, 300 steps",
    "slice thickness": "1.5 mm",
    "slice spacing": "1.5 mm",
    "readout polarity": "too few echoes to tell",
    "matrix": "256, 256, 90 voxels",
    "voxel size": "0.7, 0.7, 1.5 mm",
    "direction of B0 along the voxel axes": "0, 0.6, 0.8",
    "frequency that ppm are relative to": "123.203 MHz",
    "mask": "brain of T1w",
    "phase offset": "polynomial",
    "unwrapping": "romeo",
    "CSF kept uniform": "global: depth 4 mm, least 30 mm3",
    "left out of the thalamus": "rim, veins, fluid, lesions",
    "reference": "atria eroded by 1 mm",
}


def shown(run: MethodsRun) -> dict[str, str]:
    table = acquisition.table(run)
    pairs = zip(table["parameter"], table["value"], table["unit"], strict=True)
    return {name: f"{value} {unit}".strip() for name, value, unit in pairs}


def test_every_parameter_of_the_consensus_is_as_the_scan_has_it() -> None:
    found = shown(RUN)
    assert {name: found[name] for name in WANTED} == WANTED
    assert set(found) - set(WANTED) == {"background removal", "inversion"}


def test_the_rules_of_the_study_are_in_the_table() -> None:
    assert RUN.regions is not None
    study = replace(RUN.regions, rim_kept=True, lesions_kept=True, large_veins_only=True)
    found = shown(replace(RUN, regions=study))
    assert found["left out of the thalamus"] == "large veins, fluid"
    drawn = replace(RUN.regions, thalamus=EDITED)
    found = shown(replace(RUN, regions=drawn))
    assert "a reader drew" in found["left out of the thalamus"]


def test_silent_sidecars_are_said_to_be_silent() -> None:
    found = shown(replace(RUN, scan=SCAN))
    for name in ("sequence", "dimensions", "repetition time", "flip angle", "bandwidth"):
        assert found[name].startswith("n/a"), name


def test_alternating_readouts_are_told_from_others() -> None:
    bipolar = replace(SCAN, phase=PHASE._replace(bipolar_rad=0.3))
    assert shown(replace(RUN, scan=bipolar))["readout polarity"] == "alternating (bipolar)"
    monopolar = replace(SCAN, phase=PHASE._replace(bipolar_left_rad=0.01))
    found = shown(replace(RUN, scan=monopolar))["readout polarity"]
    assert found == "one direction (monopolar)"


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_the_background_removal_is_named_with_its_parameters(name: str) -> None:
    method = BACKGROUNDS[name]()
    scan = replace(SCAN, reconstruction=Reconstruction(background=method))
    assert shown(replace(RUN, scan=scan))["background removal"].startswith(name)


@pytest.mark.parametrize("name", INVERSIONS)
def test_the_inversion_is_named_with_its_parameters(name: str) -> None:
    scan = replace(SCAN, reconstruction=Reconstruction(inversion=INVERSIONS[name]()))
    assert shown(replace(RUN, scan=scan))["inversion"].startswith(f"{name}: ")


def test_lambda_is_that_of_the_inversion_that_ran() -> None:
    medi = Medi(regularisation=777.0, csf_regularisation=55.0)
    scan = replace(SCAN, reconstruction=Reconstruction(inversion=medi))
    found = shown(replace(RUN, scan=scan))["inversion"]
    assert "medi: regularisation 777, csf regularisation 55" in found


def test_what_is_external_is_named_in_the_place_of_our_method() -> None:
    external = replace(RUN, scan=replace(SCAN, chi=dataset("mine")))
    assert shown(external)["inversion"] == "mine"
    for source, words in (
        (OURS, "brain of the magnitude"),
        (EDITED, "a file that a reader drew or corrected"),
        (dataset("mine"), "mine"),
    ):
        assert shown(replace(RUN, brains={"gradient echo": source}))["mask"] == words


def test_the_page_shows_the_table_where_there_is_a_gradient_echo_and_only_there() -> None:
    title = "Acquisition and reconstruction"
    for run, there in ((RUN, True), (MethodsRun(), False)):
        page = participant_page(ParticipantReport(participant_id="sub-01", methods_run=run))
        assert (title in render(page)) is there


def test_parameters_of_a_method_have_their_units_behind_the_number() -> None:
    assert acquisition.described(INVERSIONS["tkd"]()) == "tkd: threshold 0.2, margin 20 mm"
