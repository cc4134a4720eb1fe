"""What sidecars say of a scan is taken where it can be the value, and only there."""

from pathlib import Path

import pytest

from bids_qsmthal.bids import gre_series, protocol
from bids_qsmthal.bids.dataset import GreFiles
from bids_qsmthal.bids.protocol import AcquisitionProtocol
from bids_qsmthal.core.grid import Grid
from bids_qsmthal.qsm.separation import SliceStack
from tests.conftest import write_json

FULL = {
    "PulseSequenceType": "multi-echo gradient echo",
    "ScanningSequence": "GR",
    "MRAcquisitionType": "3D",
    "RepetitionTime": 0.05,
    "FlipAngle": 15,
    "PixelBandwidth": 260.4,
    "ImagingFrequency": 123.25,
    "AcquisitionVoxelSize": [0.7, 0.7, 1.5],
    "BaseResolution": 384,
    "AcquisitionMatrixPE": 300,
    "SliceThickness": 1.5,
    "SpacingBetweenSlices": 2.0,
    "ParallelReductionFactorInPlane": 2,
    "Manufacturer": "Siemens",
    "ManufacturersModelName": "Skyra",
    "SoftwareVersions": "syngo MR E11",
    "ReceiveCoilName": "HeadNeck_20",
}

WANTED = AcquisitionProtocol(
    sequence="multi-echo gradient echo",
    dimensions="3D",
    repetition_time_s=0.05,
    flip_angle_deg=15.0,
    pixel_bandwidth_hz=260.4,
    imaging_frequency_mhz=123.25,
    acquired_voxel_size_mm=(0.7, 0.7, 1.5),
    acquired_matrix=(384.0, 300.0),
    slice_thickness_mm=1.5,
    slice_spacing_mm=2.0,
    acceleration=2.0,
    manufacturer="Siemens",
    model="Skyra",
    software="syngo MR E11",
    coil="HeadNeck_20",
)


def read(folder: Path, root: Path, **changed: object) -> AcquisitionProtocol:
    """Return the protocol of a scan whose sidecars hold all fields, some of them changed."""
    for path in folder.glob("*.json"):
        number = int(path.name.split("echo-")[1][0])
        own = {"EchoTime": 0.005 * number, "MagneticFieldStrength": 3, "Units": "rad"}
        write_json(path, own | FULL | changed)
    files = GreFiles((), tuple(sorted(folder.glob("*.nii.gz"))))
    return protocol.read(gre_series.describe(files, root))


def test_every_field_is_read_in_its_unit(add_gre, bids_dir: Path) -> None:
    assert read(add_gre(), bids_dir) == WANTED


def test_silent_sidecars_say_nothing(add_gre, bids_dir: Path) -> None:
    folder = add_gre()
    files = GreFiles((), tuple(sorted(folder.glob("*.nii.gz"))))
    assert protocol.read(gre_series.describe(files, bids_dir)) == AcquisitionProtocol()


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"RepetitionTime": "0.05"}, "repetition_time_s"),
        ({"RepetitionTime": 50000}, "repetition_time_s"),
        ({"RepetitionTime": 25}, "repetition_time_s"),
        ({"RepetitionTime": 0.0005}, "repetition_time_s"),
        ({"RepetitionTime": True}, "repetition_time_s"),
        ({"FlipAngle": -3}, "flip_angle_deg"),
        ({"FlipAngle": [15]}, "flip_angle_deg"),
        ({"ImagingFrequency": 123250000}, "imaging_frequency_mhz"),
        ({"MRAcquisitionType": "4D"}, "dimensions"),
        ({"AcquisitionVoxelSize": [0.7, 0.7]}, "acquired_voxel_size_mm"),
        ({"AcquisitionVoxelSize": [0.7, 0.7, 0]}, "acquired_voxel_size_mm"),
        ({"ManufacturersModelName": 3}, "model"),
        ({"SoftwareVersions": " "}, "software"),
    ],
)
def test_what_cannot_be_the_value_is_not_taken(
    add_gre, bids_dir: Path, changed: dict, field: str
) -> None:
    assert getattr(read(add_gre(), bids_dir, **changed), field) is None


def test_echoes_that_differ_say_nothing_together(add_gre, bids_dir: Path) -> None:
    folder = add_gre()
    read(folder, bids_dir)
    path = folder / "sub-01_echo-2_part-mag_MEGRE.json"
    write_json(path, FULL | {"EchoTime": 0.010, "MagneticFieldStrength": 3, "FlipAngle": 20})
    files = GreFiles((), tuple(sorted(folder.glob("*.nii.gz"))))
    found = protocol.read(gre_series.describe(files, bids_dir))
    assert found.flip_angle_deg is None
    assert found.repetition_time_s == 0.05


def test_the_sequence_is_named_as_plainly_as_can_be(add_gre, bids_dir: Path) -> None:
    folder = add_gre()
    assert read(folder, bids_dir, PulseSequenceType="").sequence == "GR"
    several = {"PulseSequenceType": "", "ScanningSequence": ["GR", "IR"]}
    assert read(folder, bids_dir, **several).sequence == "GR IR"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, 1.0),
        ({"AcquisitionVoxelSize": [1.0, 2.0, 3.0]}, 6.0),
        ({"AcquisitionVoxelSize": [0.5, 0.5, 0.5]}, 1.0),
        ({"AcquisitionMatrixPE": 128, "ReconMatrixPE": 256}, 2.0),
        ({"AcquisitionMatrixPE": 128, "ReconMatrixPE": 256, "BaseResolution": 20}, 4.0),
        ({"AcquisitionMatrixPE": "128", "ReconMatrixPE": 256}, 1.0),
        ({"BaseResolution": 20, "PhaseEncodingDirection": "i"}, 1.5),
    ],
)
def test_interpolation_is_told_by_acquired_sizes_or_matrices(
    add_gre, bids_dir: Path, said: dict, expected: float
) -> None:
    folder = add_gre()
    for path in folder.glob("*.json"):
        number = int(path.name.split("echo-")[1][0])
        write_json(
            path, {"EchoTime": 0.005 * number, "MagneticFieldStrength": 3, "Units": "rad"} | said
        )
    files = GreFiles((), tuple(sorted(folder.glob("*.nii.gz"))))
    grid = Grid((40, 30, 20), (1.0, 1.0, 1.0))
    series = gre_series.describe(files, bids_dir)
    assert protocol.voxels_per_acquired(series, grid) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("changed", "size_mm", "wanted"),
    [
        ({"MRAcquisitionType": "3D"}, (1, 1, 2), None),
        # A gap of 0.5 mm between slices of 1.5 mm.
        ({}, (1, 1, 2), SliceStack(axis=2, thickness=0.75)),
        # Reoriented: the sizes still tell, also where slices are thinner than pixels.
        ({}, (2, 1, 1), SliceStack(axis=0, thickness=0.75)),
        ({}, (3, 2, 3), SliceStack(axis=1, thickness=0.75)),
        # The same size everywhere, or a size that no axis has: the third.
        ({}, (2, 2, 2), SliceStack(axis=2, thickness=0.75)),
        ({}, (1, 1, 1), SliceStack(axis=2, thickness=1.5)),
        ({"SliceEncodingDirection": "j-"}, (2, 2, 2), SliceStack(axis=1, thickness=0.75)),
        ({"SliceThickness": None, "SpacingBetweenSlices": None}, (3, 1, 1), SliceStack(axis=2)),
    ],
)
def test_slices_lie_where_sidecar_or_sizes_say(
    add_gre,
    bids_dir: Path,
    changed: dict[str, object],
    size_mm: tuple[float, float, float],
    wanted: SliceStack | None,
) -> None:
    folder = add_gre()
    read(folder, bids_dir, **({"MRAcquisitionType": "2D"} | changed))
    files = GreFiles((), tuple(sorted(folder.glob("*.nii.gz"))))
    series = gre_series.describe(files, bids_dir)
    assert protocol.slice_stack(series, Grid((4, 5, 6), size_mm)) == wanted
