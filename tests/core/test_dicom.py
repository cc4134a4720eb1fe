"""Images as DICOM: what every file must hold, and where and how large the values are."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pydicom
import pytest

from bids_qsmthal.core import dicom
from bids_qsmthal.core.dicom import DicomSeries
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.image import Image

SERIES = DicomSeries(
    subject="01",
    session="a",
    study="one study",
    frame="MEGRE",
    description="Chimap",
    units="ppm",
    number=3,
)
SHAPE = (5, 6, 4)
NAMED = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality"),
    *("FrameOfReferenceUID", "ImageType", "SamplesPerPixel", "PhotometricInterpretation"),
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelData", "PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient"),
    *("ScanningSequence", "SequenceVariant", "RescaleSlope", "RescaleIntercept", "RescaleType"),
)
"""Type 1 of the modules of MR Image Storage (PS3.3, table A.4-1): there, with a value."""
PRESENT = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"),
    *("ReferringPhysicianName", "StudyID", "AccessionNumber", "SeriesNumber", "Manufacturer"),
    *("PositionReferenceIndicator", "InstanceNumber", "SliceThickness", "ScanOptions"),
    *("MRAcquisitionType", "RepetitionTime", "EchoTime", "EchoTrainLength", "PatientPosition"),
)
"""Type 2: there, perhaps empty."""


def tilted(degrees: float = 20.0) -> np.ndarray:
    """Return an axial slab that is turned about x, with voxels of 1 x 1.5 x 3 mm."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    affine = np.eye(4)
    affine[:3, :3] = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ np.diag([1.0, 1.5, 3.0])
    affine[:3, 3] = (-20, 31, 7)
    return affine


def image(affine: np.ndarray | None = None, seed: int = 1) -> Image:
    values = np.random.default_rng(seed).normal(scale=0.1, size=SHAPE).astype(np.float32)
    values[0] = 0
    return Image(values, tilted() if affine is None else affine)


def read(picture: Image, series: DicomSeries = SERIES) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(BytesIO(content)) for _, content in dicom.files(picture, series)]


def at(files: list[pydicom.Dataset], world_mm: np.ndarray) -> float:
    """Return the value at a point (RAS+ mm) by the equation of PS3.3, C.7.6.2.1.1."""
    point = world_mm * (-1, -1, 1)
    across = np.array(files[0].ImageOrientationPatient[:3], float)
    down = np.array(files[0].ImageOrientationPatient[3:], float)
    off = [
        abs(np.cross(across, down) @ (point - np.array(file.ImagePositionPatient, float)))
        for file in files
    ]
    file = files[int(np.argmin(off))]
    from_corner = point - np.array(file.ImagePositionPatient, float)
    column = across @ from_corner / float(file.PixelSpacing[1])
    row = down @ from_corner / float(file.PixelSpacing[0])
    assert min(off) < 1e-3
    assert abs(column - round(column)) + abs(row - round(row)) < 1e-3
    pixel = file.pixel_array[round(row), round(column)]
    return float(pixel) * float(file.RescaleSlope) + float(file.RescaleIntercept)


def turned(order: tuple[int, int, int], signs: tuple[int, int, int]) -> np.ndarray:
    """Return an affine whose array axes are those of the slab in another order and direction."""
    affine = tilted()
    affine[:3, :3] = affine[:3, list(order)] * signs
    return affine


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (1, 2, 0), (2, 0, 1)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (1, -1, -1)])
def test_every_voxel_is_where_it_was_with_its_value(
    order: tuple[int, int, int], signs: tuple[int, int, int]
) -> None:
    picture = image(turned(order, signs))
    files = read(picture)
    half = float(files[0].RescaleSlope) / 2
    assert half < 1e-5
    for voxel in np.ndindex(SHAPE):
        world = picture.affine[:3, :3] @ voxel + picture.affine[:3, 3]
        assert at(files, world) == pytest.approx(float(picture.data[voxel]), abs=1.01 * half)


def test_slices_are_shown_as_radiologists_look_at_them() -> None:
    axial = read(image(turned((1, 0, 2), (1, 1, -1))))[0].ImageOrientationPatient
    # LPS+: columns to the left of the patient, rows to the back.
    assert axial[0] > 0.9
    assert axial[4] > 0.9
    sagittal = read(image(turned((2, 1, 0), (1, 1, 1))))[0].ImageOrientationPatient
    assert sagittal[1] > 0.9
    assert sagittal[5] < -0.9


@pytest.mark.parametrize("direction", [1, -1])
def test_slices_are_numbered_along_their_normal(direction: int) -> None:
    first, second = read(image(turned((0, 1, 2), (1, 1, direction))))[:2]
    axes = np.array(first.ImageOrientationPatient, float)
    step = np.subtract(second.ImagePositionPatient, first.ImagePositionPatient).astype(float)
    assert np.cross(axes[:3], axes[3:]) @ step == pytest.approx(3.0, abs=1e-4)


def test_every_file_has_what_the_standard_asks_for() -> None:
    files = read(image())
    assert len(files) == SHAPE[2]
    for number, file in enumerate(files, 1):
        for name in NAMED:
            assert file[name].value not in (None, ""), name
        for name in PRESENT:
            assert name in file, name
        assert file.InstanceNumber == number
        assert file.ImageType[0] == "DERIVED"
        assert file.file_meta.MediaStorageSOPInstanceUID == file.SOPInstanceUID
        mapping = file.RealWorldValueMappingSequence[0]
        assert mapping.RealWorldValueSlope == float(file.RescaleSlope)
        assert mapping.RealWorldValueFirstValueMapped == -32767
        assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "[ppm]"
        for element in file:
            if element.VR == "DS":
                values = element.value if element.VM > 1 else [element.value]
                assert all(value is None or len(str(value)) <= 16 for value in values)


def test_identifiers_are_those_of_study_frame_series_and_content() -> None:
    first = read(image())
    again = read(image())
    assert [one.SOPInstanceUID for one in first] == [one.SOPInstanceUID for one in again]
    assert len({one.SOPInstanceUID for one in first}) == SHAPE[2]
    assert len({one.SeriesInstanceUID for one in first}) == 1
    changed = read(image(seed=2))
    assert {one.SOPInstanceUID for one in first}.isdisjoint(one.SOPInstanceUID for one in changed)
    beside = read(image(), replace(SERIES, description="R2starmap", units="1/s"))[0]
    assert beside.FrameOfReferenceUID == first[0].FrameOfReferenceUID
    assert beside.StudyInstanceUID == first[0].StudyInstanceUID
    assert beside.SeriesInstanceUID != first[0].SeriesInstanceUID
    space = read(image(), replace(SERIES, frame="T1w"))[0]
    assert space.FrameOfReferenceUID != first[0].FrameOfReferenceUID
    for other in (replace(SERIES, study="another"), replace(SERIES, subject="02")):
        assert read(image(), other)[0].StudyInstanceUID != first[0].StudyInstanceUID


def test_labels_are_whole_and_zero_stays_zero() -> None:
    labels = image().like((np.arange(120).reshape(SHAPE) % 7 * 300).astype(np.int16))
    files = read(labels)
    assert {one.RescaleSlope for one in files} == {1}
    assert set(np.unique([one.pixel_array for one in files])) == set(np.unique(labels.data))
    values = image()
    zero = [at(read(values), values.affine[:3, :3] @ v + values.affine[:3, 3]) for v in [(0, 1, 2)]]
    assert zero == [0.0]
    empty = read(values.like(np.zeros(SHAPE, np.float32)))
    assert not any(one.pixel_array.any() for one in empty)
    assert all(float(one.WindowWidth) >= 1 for one in empty)


@pytest.mark.parametrize("largest", [3e-12, 1 / 3, 40000.0, 7e11])
def test_maps_of_any_size_keep_their_values(largest: float) -> None:
    picture = image()
    picture = picture.like(picture.data / np.abs(picture.data).max() * np.float32(largest))
    for voxel in ((1, 2, 3), (4, 5, 0)):
        world = picture.affine[:3, :3] @ voxel + picture.affine[:3, 3]
        assert at(read(picture), world) == pytest.approx(
            float(picture.data[voxel]), abs=largest / 32767 * 0.51
        )


def test_what_cannot_be_a_series_is_refused() -> None:
    sheared = tilted()
    sheared[0, 1] = 0.2
    wrong = {
        "one volume": Image(np.zeros((2, 2, 2, 2)), tilted()),
        "right angles": image(sheared),
        "not finite": image().like(np.full(SHAPE, np.nan)),
    }
    for message, picture in wrong.items():
        with pytest.raises(DataError, match=message):
            read(picture)
