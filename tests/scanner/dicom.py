"""DICOM files of a multi-echo gradient echo as the vendors write them, with pydicom.

What is written follows the vendors' conventions as dcm2niix and the literature document them:
Siemens phase is unsigned 12 bit with RescaleSlope 2 and RescaleIntercept -4096, ImageType P;
Philips phase is 12 bit with a slope to mrad, ImageType PHASE MAP, and the private scale of its
magnitudes; GE writes real and imaginary parts, or phase in units of 1/1000 rad, told by a private
tag, and negates every other slice of the complex data. The sign of GE's phase is the opposite.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

ECHO_TIMES_MS = (4.5, 9.0, 13.5)
FIELD_STRENGTH_T = 3.0
SHAPE = (40, 44, 18)
VOXEL_MM = (2.5, 2.5, 4.0)
TILT_DEG = 15.0
"""The slab is turned about the left-right axis, so B0 is not along its third axis."""

ROOT = "1.2.826.0.1.3680043.8.498."


@dataclass(frozen=True)
class Scan:
    """What the object is: a frequency (rad/s) and a decay, alike for every vendor."""

    magnitude: np.ndarray
    phase_rad: np.ndarray
    """Wrapped, growing with positive frequency; shape (column, row, slice, echo)."""


def scan() -> Scan:
    column, row, slice_ = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    inside = column**2 + row**2 + slice_**2 < 0.9
    frequency = (
        150 * column
        + 80 * row**2
        + 60 * slice_
        + 90 * ((column - 0.2) ** 2 + (row + 0.1) ** 2 + slice_**2 < 0.1)
    )
    times_s = np.array(ECHO_TIMES_MS) / 1000
    decay = np.exp(-25 * times_s)
    magnitude = np.where(inside, 1000.0, 8.0)[..., None] * decay
    angle = frequency[..., None] * times_s
    return Scan(np.rint(magnitude), np.angle(np.exp(1j * angle)))


def write(folder: Path, vendor: str) -> None:
    """Write the files of one series into a folder."""
    folder.mkdir(parents=True)
    found = scan()
    number = 0
    for series, kind, volumes in VENDORS[vendor](found):
        for echo, time_ms in enumerate(ECHO_TIMES_MS, 1):
            for place in range(SHAPE[2]):
                number += 1
                file = _file(vendor, series, number)
                _geometry(file, place)
                file.EchoTime, file.EchoNumbers = time_ms, str(echo)
                # Columns run along the first axis, so the pixels of a row are contiguous.
                pixels = np.rint(volumes[:, :, place, echo - 1].T)
                MARKS[vendor](file, kind, pixels)
                file.save_as(folder / f"{number:04d}.dcm", enforce_file_format=True)


def _siemens(found: Scan):
    yield 5, "M", found.magnitude
    # -4096 .. 4094 in steps of 2 after the slope.
    yield 6, "P", np.clip((found.phase_rad / np.pi * 4096 + 4096) / 2, 0, 4095)


def _philips(found: Scan):
    yield 7, "M", found.magnitude
    yield 7, "P", np.clip((1000 * found.phase_rad - PHILIPS_INTERCEPT) / PHILIPS_SLOPE, 0, 4095)


def _ge_complex(found: Scan) -> np.ndarray:
    alternating = np.where(np.arange(SHAPE[2]) % 2, -1.0, 1.0)[None, None, :, None]
    return found.magnitude * np.exp(-1j * found.phase_rad) * alternating


def _ge_parts(found: Scan):
    values = _ge_complex(found)
    yield 8, "M", np.abs(values)
    yield 8, "R", values.real
    yield 8, "I", values.imag


def _ge_phase(found: Scan):
    values = _ge_complex(found)
    yield 8, "M", np.abs(values)
    yield 8, "P", 1000 * np.angle(values)


PHILIPS_SLOPE, PHILIPS_INTERCEPT, PHILIPS_SCALE = 1.53455, -3142.0, 651.74
"""As real files have them: slope times scale is 1000, so the precise values are in rad."""

VENDORS = {
    "siemens": _siemens,
    "philips": _philips,
    "ge": _ge_parts,
    "ge-phase": _ge_phase,
}


def _mark_siemens(file: Dataset, kind: str, pixels: np.ndarray) -> None:
    file.Manufacturer, file.ManufacturerModelName = "SIEMENS", "Prisma_fit"
    file.ImageType = ["ORIGINAL", "PRIMARY", kind, "ND"]
    if kind == "P":
        file.RescaleSlope, file.RescaleIntercept, file.RescaleType = "2", "-4096", "US"
    _pixels(file, pixels, signed=False, bits=12)


def _mark_philips(file: Dataset, kind: str, pixels: np.ndarray) -> None:
    file.Manufacturer, file.ManufacturerModelName = "Philips Medical Systems", "Ingenia"
    names = {"M": ["M_FFE", "M", "FFE"], "P": ["PHASE MAP", "P", "FFE"]}
    file.ImageType = ["ORIGINAL", "PRIMARY", *names[kind]]
    slope, intercept = (
        ("1", "0") if kind == "M" else (f"{PHILIPS_SLOPE:g}", f"{PHILIPS_INTERCEPT:g}")
    )
    file.RescaleSlope, file.RescaleIntercept = slope, intercept
    file.RescaleType = "normalized" if kind == "M" else "milliradials"
    block = file.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
    block.add_new(0x0D, "FL", 0.0)
    block.add_new(0x0E, "FL", 4.0 if kind == "M" else PHILIPS_SCALE)
    block.add_new(0x11, "CS", kind)
    _pixels(file, pixels, signed=False, bits=12)


def _mark_ge(file: Dataset, kind: str, pixels: np.ndarray) -> None:
    file.Manufacturer, file.ManufacturerModelName = "GE MEDICAL SYSTEMS", "DISCOVERY MR750"
    file.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    block = file.private_block(0x0043, "GEMS_PARM_01", create=True)
    block.add_new(0x2F, "SS", "MPRI".index(kind))
    _pixels(file, pixels, signed=True, bits=16)


MARKS = {
    "siemens": _mark_siemens,
    "philips": _mark_philips,
    "ge": _mark_ge,
    "ge-phase": _mark_ge,
}


def _file(vendor: str, series: int, number: int) -> Dataset:
    study = f"{ROOT}{list(VENDORS).index(vendor) + 1}"
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID = MRImageStorage
    uid = UID(f"{study}.{series}.{number}")
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = uid
    file.StudyInstanceUID, file.SeriesInstanceUID = UID(study), UID(f"{study}.{series}")
    file.FrameOfReferenceUID = UID(f"{study}.9")
    file.Modality, file.PatientID, file.PatientName = "MR", "p1", "p1"
    file.StudyDate, file.StudyTime = "20260131", "101112"
    file.SeriesDate, file.SeriesTime = "20260131", "101500"
    file.AcquisitionDate, file.AcquisitionTime = "20260131", "101500"
    file.SeriesDescription = file.ProtocolName = "qsm_megre"
    file.SeriesNumber, file.AcquisitionNumber, file.InstanceNumber = series, 1, number
    file.ScanningSequence, file.SequenceVariant, file.MRAcquisitionType = "GR", "SP", "3D"
    file.MagneticFieldStrength, file.RepetitionTime, file.FlipAngle = FIELD_STRENGTH_T, 30, 15
    file.ImagingFrequency, file.PatientPosition = 123.2, "HFS"
    return file


def _geometry(file: Dataset, place: int) -> None:
    """Place a slice: rows to the patient's left, columns to the back, tilted (LPS, in mm)."""
    tilt = np.deg2rad(TILT_DEG)
    across = np.array([1.0, 0.0, 0.0])
    down = np.array([0.0, np.cos(tilt), np.sin(tilt)])
    normal = np.cross(across, down)
    first = (
        -(
            across * VOXEL_MM[0] * SHAPE[0]
            + down * VOXEL_MM[1] * SHAPE[1]
            + normal * VOXEL_MM[2] * SHAPE[2]
        )
        / 2
    )
    position = first + normal * VOXEL_MM[2] * place
    file.ImageOrientationPatient = [f"{value:.8g}" for value in (*across, *down)]
    file.ImagePositionPatient = [f"{value:.8g}" for value in position]
    file.SliceLocation = f"{VOXEL_MM[2] * place:.6g}"
    file.PixelSpacing = [f"{VOXEL_MM[1]}", f"{VOXEL_MM[0]}"]
    file.SliceThickness = file.SpacingBetweenSlices = f"{VOXEL_MM[2]}"


def _pixels(file: Dataset, pixels: np.ndarray, *, signed: bool, bits: int) -> None:
    file.Rows, file.Columns = pixels.shape
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit = 16, bits, bits - 1
    file.PixelRepresentation = int(signed)
    file.PixelData = pixels.astype("<i2" if signed else "<u2").tobytes()
