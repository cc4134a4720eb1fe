"""The gradient-echo signal in one convention, whatever the vendor stored."""

from __future__ import annotations

import errno
import logging
import tempfile
import weakref
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bids_qsmthal.bids import gre_series
from bids_qsmthal.core import nifti
from bids_qsmthal.core.errors import DataError, at
from bids_qsmthal.core.image import Image
from bids_qsmthal.core.scan_warnings import PhaseVoxelsBeyondTurn
from bids_qsmthal.qsm import phase, scaling, storage
from bids_qsmthal.report import sentences

if TYPE_CHECKING:
    from collections.abc import Mapping
    from io import FileIO
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_qsmthal.core.scan_warnings import ScanWarning
    from bids_qsmthal.qsm.phase import PhaseReport
    from bids_qsmthal.settings import Settings

log = logging.getLogger(__name__)

SIGNS: dict[str, Literal["auto", 1, -1]] = {"auto": "auto", "+1": 1, "-1": -1}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MagnitudeSignal:
    """The magnitude of a gradient-echo scan, ready for a fit of its decay.

    Attributes
    ----------
    magnitude
        Shape (x, y, z, echo).
    warnings
        What headers and data leave in doubt.
    """

    series: gre_series.MagnitudeSeries
    magnitude: Image
    warnings: tuple[ScanWarning, ...] = ()

    @property
    def images(self) -> dict[str, Image]:
        """What takes memory, by the names of the fields."""
        return {"magnitude": self.magnitude}

    def with_images(self, images: Mapping[str, Image]) -> MagnitudeSignal:
        """Return the same scan with other images of the same names."""
        return replace(self, magnitude=images["magnitude"])

    @property
    def combined(self) -> Image:
        """Root sum of squares of the echoes: the contrast that is registered and shown."""
        # einsum adds up the squares without an array of all of them.
        data = np.sqrt(np.einsum("...e,...e->...", self.magnitude.data, self.magnitude.data))
        return self.magnitude.like(data)

    @property
    def loaded(self) -> MagnitudeSignal:
        """Itself: it is in memory."""
        return self


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Signal(MagnitudeSignal):
    """A gradient-echo scan ready for reconstruction.

    Attributes
    ----------
    phase_rad
        Shape (x, y, z, echo); phase grows with a positive frequency offset.
    report
        Which conventions were found and undone; None where there is no phase but a given field.
    scale
        How the stored phase became radians; None for real and imaginary parts.
    """

    phase_rad: Image
    report: PhaseReport | None
    scale: scaling.Scale | None = None

    @property
    def images(self) -> dict[str, Image]:
        """What takes memory, by the names of the fields."""
        return {"magnitude": self.magnitude, "phase_rad": self.phase_rad}

    def with_images(self, images: Mapping[str, Image]) -> Signal:
        """Return the same scan with other images of the same names."""
        return replace(self, magnitude=images["magnitude"], phase_rad=images["phase_rad"])


class SignalOnDisk:
    """A signal whose arrays wait in a file without a name while T1w is processed.

    The scan is read and judged before the first stage; held in memory until its turn it would
    add to the peak of a participant (48 MiB at 1.5 x 1.5 x 2 mm and five echoes).
    """

    def __init__(self, signal: MagnitudeSignal, folder: Path) -> None:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        images = signal.images
        self._folder = folder
        with at(folder):
            # Without a buffer: what a full disk did not take would be written once more, and
            # refused where nobody listens, when the file is closed.
            self._file = tempfile.TemporaryFile(  # noqa: SIM115 - closed with this object
                dir=folder, buffering=0
            )
            weakref.finalize(self, self._file.close)
            for image in images.values():
                # Raw bytes in C order, one array after the other; ``loaded`` reads them in the
                # same order.
                _write_all(self._file, np.ascontiguousarray(image.data).reshape(-1).view(np.uint8))
        self._shapes = {name: (one.data.shape, one.data.dtype) for name, one in images.items()}
        empty = {
            name: replace(image, data=np.empty(0, image.data.dtype))
            for name, image in images.items()
        }
        self._rest = signal.with_images(empty)

    @property
    def loaded(self) -> MagnitudeSignal:
        """The signal, read back."""
        with at(self._folder):
            self._file.seek(0)
            images = {
                name: replace(image, data=_read_all(self._file, *self._shapes[name]))
                for name, image in self._rest.images.items()
            }
        return self._rest.with_images(images)


def _write_all(stream: FileIO, content: NDArray[np.uint8]) -> None:
    """Write bytes until all are written: the system takes 2 GiB at most at once."""
    left = content.data
    while left:
        left = left[stream.write(left) :]


def _read_all(stream: FileIO, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the next array of a file.

    Raises
    ------
    OSError
        The disk fails, or the file ends before.
    """
    array = np.empty(shape, dtype)
    left = array.reshape(-1).view(np.uint8).data
    while left:
        count = stream.readinto(left)
        # NumPy's fromfile would return what there is without a word.
        if not count:
            raise OSError(errno.EIO, "the file ends before what was written to it")
        left = left[count:]
    return array


def read(series: gre_series.MagnitudeSeries, settings: Settings) -> MagnitudeSignal:
    """Read a scan and bring its phase, where it has one, into our convention.

    Raises
    ------
    DataError
        A file is damaged, or the scale of the phase is unknown or contradicts the values.
    """
    if isinstance(series, gre_series.GreSeries):
        return _with_phase(series, settings)
    stored, affine = gre_series.load_magnitude(series)
    magnitude, overflowed = storage.repair_overflow(
        np.where(np.isfinite(stored), stored, np.float32(0))
    )
    if overflowed:
        log.info("magnitude: %d overflowed values corrected", overflowed)
    for warning in series.warnings:
        log.warning("%s", sentences.sentence(warning))
    return MagnitudeSignal(
        series=series,
        magnitude=Image(magnitude, affine, series.b0.direction),
        warnings=series.warnings,
    )


def _with_phase(series: gre_series.GreSeries, settings: Settings) -> Signal:
    first, second, affine = gre_series.load(series)
    scale, doubts = in_radians(second, series, settings)
    if series.parts == ("real", "imag"):
        first, second = phase.complex_to_magnitude_phase(first, second)
    conventions = phase.Conventions(
        manufacturer=series.manufacturer or "",
        sign=SIGNS[settings.phase_sign],
        chop=settings.gre_chop,
        filtered=settings.phase_filter,
        labels=series.phase_labels,
    )
    images = Image(first, affine, series.b0.direction)
    corrected = phase.corrected(first, second, images.grid, series.acquisition, conventions)
    log.info("phase: %s", _described(corrected.report))
    warnings = (*series.warnings, *doubts, *corrected.report.warnings)
    for warning in warnings:
        log.warning("%s", sentences.sentence(warning))
    return Signal(
        series=series,
        magnitude=images.like(corrected.magnitude),
        phase_rad=images.like(corrected.phase_rad),
        report=corrected.report,
        warnings=warnings,
        scale=scale,
    )


def in_radians(
    phase_stored: NDArray[np.float32], series: gre_series.GreSeries, settings: Settings
) -> tuple[scaling.Scale | None, tuple[ScanWarning, ...]]:
    """Turn the stored phase of every echo into radians, in place.

    Returns
    -------
    scale
        How; None for real and imaginary parts, which are left alone.
    warnings
        What is in doubt about it.
    """
    if series.parts != ("mag", "phase"):
        return None, ()
    # The last echo has turned most: if any echo shows a whole turn, it is this one.
    scale = phase_scale(phase_stored[..., -1], series, settings)
    beyond = 0
    for index, echo in enumerate(series.second):
        phase_stored[..., index], count = radians(phase_stored[..., index], echo, scale)
        beyond += count
    doubts = (scale.warning, PhaseVoxelsBeyondTurn(beyond) if beyond else None)
    return scale, tuple(doubt for doubt in doubts if doubt is not None)


def phase_scale(
    last_echo: NDArray[np.float32], series: gre_series.GreSeries, settings: Settings
) -> scaling.Scale:
    """Return how the stored phase of a scan becomes radians.

    Raises
    ------
    DataError
        It is unknown, or contradicts the values.
    """
    path = series.second[-1].path
    # The user's word goes before header and values.
    if settings.phase_units != "auto":
        return scaling.scale_of_user(last_echo, settings.phase_units)
    slope, _ = nifti.stored_scale(path)
    try:
        return scaling.find_scale(
            last_echo,
            units=series.phase_units,
            manufacturer=series.manufacturer,
            header_slope=slope,
        )
    except DataError as error:
        raise DataError(f"{path.name}: {error} State its unit with --phase-units.") from error


def radians(
    values: NDArray[np.float32], echo: gre_series.Echo, scale: scaling.Scale
) -> tuple[NDArray[np.float32], int]:
    """Return the phase of one echo in radians, and how many voxels beyond the turn became NaN.

    Raises
    ------
    DataError
        Its values do not fit the scale of the last echo.
    """
    try:
        return scaling.to_radians(values, scale)
    except DataError as error:
        raise DataError(f"{echo.path.name}: {error} State its unit with --phase-units.") from error


def _described(report: PhaseReport) -> str:
    words = [f"sign {report.sign:+d} (by {report.sign_source})"]
    if report.chopped:
        words.append(f"every other slice was negated (by {report.chop_source})")
    if report.bipolar_rad:
        words.append(
            "readouts alternate (bipolar): odd and even echoes differed by up to "
            # The report has the deviation of either direction from their middle, half of what is
            # said.
            f"{2 * report.bipolar_rad:.2f} rad"
        )
    elif report.bipolar_left_rad is not None:
        words.append("readouts in one direction (monopolar)")
    if report.echo_constant_rad:
        words.append(f"single echoes had constants of up to {report.echo_constant_rad:.2f} rad")
    if report.slice_step_rad:
        words.append(f"odd and even slices differed by {report.slice_step_rad:.2f} rad")
    if report.overflowed:
        words.append(f"{report.overflowed} overflowed magnitudes corrected")
    if report.not_finite:
        words.append(f"{report.not_finite} values were not finite")
    return ", ".join(words)
