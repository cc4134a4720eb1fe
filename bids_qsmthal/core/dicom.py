"""Images as DICOM files: the one door to pydicom, which is imported where it is needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_qsmthal import __version__
from bids_qsmthal.core.errors import DataError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from bids_qsmthal.core.affine import Affine
    from bids_qsmthal.core.image import Image

LARGEST = 32767
"""Of a signed number of 16 bits, the widest that every viewer reads."""

UCUM = {"ppm": "[ppm]", "1/s": "/s", "s": "s", "Hz": "Hz"}
"""Codes of units (https://ucum.org) by the units of the maps."""

MOST_SHEAR = 1e-3
"""Largest cosine between two axes of voxels: 0.06 degrees, more than rounding makes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomSeries:
    """What a series says of itself beside its pixels.

    Attributes
    ----------
    subject, session
        Labels of BIDS; nothing else of a person is written.
    study
        Words that no other study has: with the labels they make the identifier of the study.
    frame
        Name of the space; images of one study and one frame lie on each other.
    description
        Such as ``Chimap``.
    units
        As BIDS writes them; empty for labels.
    number
        Among the series of the study.
    """

    subject: str
    session: str
    study: str
    frame: str
    description: str
    units: str
    number: int

    @property
    def patient(self) -> str:
        """The participant, as its folder is called."""
        return f"sub-{self.subject}"

    def uid(self, *more: str) -> str:
        """Return the identifier of the study, or of what is named within it; always the same."""
        from pydicom.uid import generate_uid  # noqa: PLC0415 - an extra

        return str(generate_uid(entropy_srcs=[self.study, self.patient, self.session, *more]))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredPixels:
    """Pixels as they are written, and where they are.

    Attributes
    ----------
    pixels
        Shape (column, row, slice), 16 bits, signed.
    affine
        Indices (column, row, slice) to RAS+ mm.
    slope
        Turns a pixel into a value; zero stays zero.
    """

    pixels: NDArray[np.int16]
    affine: Affine
    slope: str


def check_there() -> None:
    """Raise where pydicom is not installed.

    Raises
    ------
    UnavailableError
        It is not.
    """
    try:
        import pydicom  # noqa: F401, PLC0415 - an extra
    except ImportError as error:
        raise UnavailableError(
            "DICOM files need pydicom, which is not installed: pip install 'bids_qsmthal[dicom]'."
        ) from error


def files(image: Image, series: DicomSeries) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of a file for each slice, in the order in which viewers show them.

    The SOP class is MR Image Storage, derived, with the value of a pixel as rescale slope and as
    real world value mapping (DICOM PS3.3, A.4, C.11.1 and C.7.6.16.2.11): parametric maps of
    floating-point numbers are opened by few viewers.

    Raises
    ------
    DataError
        The image has more than one volume, values that are not finite, or sheared axes.
    """
    stored = _stored(_shown(image))
    for number in range(stored.pixels.shape[2]):
        yield f"{number + 1:04d}.dcm", _encoded(_slice(stored, series, number))


def _shown(image: Image) -> Image:
    """Return the image with the axes and directions in which a viewer shows a slice.

    Viewers show rows and columns as they are stored: left of the patient on the right, and front or
    top up. The third axis, along which slices were acquired, stays.
    """
    if image.data.ndim != 3:
        raise DataError(f"shape {image.data.shape}, expected one volume of three dimensions.")
    if not np.isfinite(image.data).all():
        raise DataError("some values are not finite; write zero where nothing is known.")
    axes = image.affine[:3, :3] / np.linalg.norm(image.affine[:3, :3], axis=0)
    if np.abs(axes.T @ axes - np.eye(3)).max() > MOST_SHEAR:
        raise DataError("the axes of the voxels are not at right angles, as DICOM expects.")
    main = np.abs(axes).argmax(axis=0)
    # Columns run along x, or along y in a sagittal slice.
    order = (0, 1, 2) if main[0] < main[1] else (1, 0, 2)
    data, affine = image.data.transpose(order), image.affine[:, [*order, 3]]
    # RAS+: columns go to the left or to the back, rows to the back or down.
    for axis in (0, 1):
        if affine[np.abs(affine[:3, axis]).argmax(), axis] > 0:
            data, affine = _flipped(data, affine, axis)
    # Slices follow the normal, columns x rows, in LPS; from LPS to RAS is a turn, so hands stay.
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    if normal @ affine[:3, 2] < 0:
        data, affine = _flipped(data, affine, 2)
    return type(image)(np.ascontiguousarray(data), affine, image.b0_direction)


def _flipped(
    data: NDArray[Any], affine: NDArray[np.float64], axis: int
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    turned = affine.copy()
    turned[:3, 3] += (data.shape[axis] - 1) * affine[:3, axis]
    turned[:3, axis] *= -1
    return np.flip(data, axis), turned


def _stored(image: Image) -> StoredPixels:
    """Return values as numbers of 16 bits: as they are where they are whole, else rounded."""
    largest = float(np.abs(image.data).max(initial=0))
    whole = largest <= LARGEST and not np.mod(image.data, 1).any()
    slope = "1" if whole or largest == 0 else _decimal(largest / LARGEST)
    # With the slope as it is written, not as it was meant; that may be smaller by a rounding.
    pixels = np.rint(image.data / float(slope)).clip(-LARGEST, LARGEST).astype(np.int16)
    return StoredPixels(pixels=pixels, affine=image.affine, slope=slope)


def _decimal(value: float) -> str:
    """Return a number as a decimal string, which may have 16 characters."""
    return next(text for digits in range(15, 0, -1) if len(text := f"{value:.{digits}g}") <= 16)


def _slice(stored: StoredPixels, series: DicomSeries, number: int) -> Any:  # noqa: ANN401 - a pydicom Dataset
    from pydicom.dataset import Dataset, FileMetaDataset  # noqa: PLC0415 - an extra
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage  # noqa: PLC0415

    file = Dataset()
    file.SpecificCharacterSet = "ISO_IR 192"
    _identify(file, series)
    pixels = stored.pixels[:, :, number].T
    # Another content is another instance: archives keep the first file of an identifier.
    file.SOPInstanceUID = series.uid(
        "instance", series.frame, series.description, str(number), pixels.tobytes().hex()
    )
    file.SOPClassUID, file.InstanceNumber = MRImageStorage, str(number + 1)
    _describe(file, series)
    _place(file, stored, number)
    _fill(file, stored, pixels, series)
    file.file_meta = FileMetaDataset()
    file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return file


def _identify(file: Any, series: DicomSeries) -> None:  # noqa: ANN401
    """Write patient, study, series and frame of reference; what is not known is empty."""
    file.PatientName = file.PatientID = series.patient
    file.PatientBirthDate = file.PatientSex = ""
    file.PatientIdentityRemoved = "YES"
    file.DeidentificationMethod = "Derived from BIDS; label of the participant only"
    file.StudyInstanceUID = series.uid()
    file.StudyDate = file.StudyTime = file.AccessionNumber = file.ReferringPhysicianName = ""
    file.StudyID = f"ses-{series.session}"[:16] if series.session else ""
    file.SeriesInstanceUID = series.uid("series", series.frame, series.description)
    file.SeriesNumber, file.SeriesDescription = str(series.number), series.description
    file.FrameOfReferenceUID = series.uid("frame", series.frame)
    file.PositionReferenceIndicator = ""


def _describe(file: Any, series: DicomSeries) -> None:  # noqa: ANN401
    """Write what kind of image it is, and who made it."""
    file.Modality, file.BodyPartExamined, file.PatientPosition = "MR", "HEAD", ""
    file.Manufacturer = file.ManufacturerModelName = "bids_qsmthal"
    file.SoftwareVersions = __version__
    file.ImageType = ["DERIVED", "PRIMARY", "OTHER"]
    file.DerivationDescription = f"{series.description}, bids_qsmthal {__version__}; for research"
    # Research mode: no sequence of a scanner made a map.
    file.ScanningSequence, file.SequenceVariant, file.ScanOptions = "RM", "NONE", ""
    file.MRAcquisitionType = ""
    file.RepetitionTime = file.EchoTime = file.EchoTrainLength = None
    file.BurnedInAnnotation, file.LossyImageCompression = "NO", "00"


def _place(file: Any, stored: StoredPixels, number: int) -> None:  # noqa: ANN401
    """Write where the slice is; DICOM's world is LPS+, ours RAS+."""
    to_lps = np.diag([-1.0, -1.0, 1.0])
    axes = to_lps @ stored.affine[:3, :3]
    lengths = np.linalg.norm(axes, axis=0)
    across, down = (axes[:, axis] / lengths[axis] for axis in (0, 1))
    corner = to_lps @ (stored.affine[:3, 3] + number * stored.affine[:3, 2])
    file.ImageOrientationPatient = [_decimal(value) for value in (*across, *down)]
    file.ImagePositionPatient = [_decimal(value) for value in corner]
    # Between rows first, then between columns.
    file.PixelSpacing = [_decimal(lengths[1]), _decimal(lengths[0])]
    file.SliceThickness = file.SpacingBetweenSlices = _decimal(lengths[2])


def _fill(file: Any, stored: StoredPixels, pixels: NDArray[np.int16], series: DicomSeries) -> None:  # noqa: ANN401
    """Write the pixels, what they mean, and how a viewer shows them at first."""
    from pydicom.dataset import Dataset  # noqa: PLC0415 - an extra

    file.Rows, file.Columns = pixels.shape
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 16, 15, 1
    file.RescaleSlope, file.RescaleIntercept = stored.slope, "0"
    file.RescaleType = series.units or "US"
    low, high = _window(stored)
    file.WindowCenter, file.WindowWidth = _decimal((low + high) / 2), _decimal(high - low)
    if series.units:
        unit = Dataset()
        unit.CodeValue, unit.CodingSchemeDesignator = UCUM[series.units], "UCUM"
        unit.CodeMeaning = series.units
        mapping = Dataset()
        mapping.LUTExplanation = mapping.LUTLabel = series.units
        mapping.RealWorldValueFirstValueMapped = -LARGEST
        mapping.RealWorldValueLastValueMapped = LARGEST
        mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept = float(stored.slope), 0.0
        mapping.MeasurementUnitsCodeSequence = [unit]
        file.RealWorldValueMappingSequence = [mapping]
    file.PixelData = pixels.astype("<i2").tobytes()


def _window(stored: StoredPixels) -> tuple[float, float]:
    """Return the range of the middle 98 % of what is not zero."""
    shown = stored.pixels[stored.pixels != 0]
    if not shown.size:
        return 0.0, 1.0
    low, high = np.percentile(shown, (1, 99)) * float(stored.slope)
    # A mask has one value.
    return (low, high) if high > low else (0.0, float(high) or 1.0)


def _encoded(file: Any) -> bytes:  # noqa: ANN401
    from io import BytesIO  # noqa: PLC0415

    with BytesIO() as buffer:
        file.save_as(buffer, enforce_file_format=True)
        return buffer.getvalue()
