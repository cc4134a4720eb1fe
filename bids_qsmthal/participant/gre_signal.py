"""The gradient-echo signal in one convention, whatever the vendor stored."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from bids_qsmthal.bids import gre_series
from bids_qsmthal.core import nifti
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.image import Image
from bids_qsmthal.qsm import phase

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_qsmthal.core.image import Affine
    from bids_qsmthal.qsm.phase import PhaseReport
    from bids_qsmthal.settings import Settings

log = logging.getLogger(__name__)

SIGNS: dict[str, Literal["auto", 1, -1]] = {"auto": "auto", "+1": 1, "-1": -1}


@dataclass(frozen=True, slots=True, eq=False)
class Signal:
    """A gradient-echo scan ready for reconstruction.

    Attributes
    ----------
    magnitude, phase_rad
        Shape (x, y, z, echo); phase grows with a positive frequency offset.
    report
        Which conventions were found and undone.
    """

    series: gre_series.GreSeries
    magnitude: Image
    phase_rad: Image
    report: PhaseReport

    @property
    def combined(self) -> Image:
        """Root sum of squares of the echoes: the contrast that is registered and shown."""
        data = np.sqrt(np.einsum("...e,...e->...", self.magnitude.data, self.magnitude.data))
        return self.magnitude.like(data)


def read(series: gre_series.GreSeries, settings: Settings) -> Signal:
    """Read a scan and bring its phase into our convention.

    Raises
    ------
    DataError
        A file is damaged, or the scale of the phase is unknown or contradicts the values.
    """
    first, second, affine = load(series, settings)
    if series.parts == ("real", "imag"):
        first, second = phase.complex_to_magnitude_phase(first, second)
    conventions = phase.Conventions(
        manufacturer=series.manufacturer or "",
        sign=SIGNS[settings.phase_sign],
        chop=settings.gre_chop,
    )
    grid = Image(first, affine).grid
    corrected = phase.corrected(first, second, grid, series.acquisition, conventions)
    log.info("phase: %s", _described(corrected.report))
    return Signal(
        series,
        Image(corrected.magnitude, affine),
        Image(corrected.phase_rad, affine),
        corrected.report,
    )


def load(
    series: gre_series.GreSeries, settings: Settings
) -> tuple[NDArray[np.float32], NDArray[np.float32], Affine]:
    """Return magnitude and phase (rad), or real and imaginary part, shape (x, y, z, echo).

    The phase is in the convention of the vendor.

    Raises
    ------
    DataError
        A file is damaged, or the scale of the phase is unknown or contradicts the values.
    """
    first, second, affine = gre_series.load(series)
    if series.parts == ("mag", "phase"):
        for index, echo in enumerate(series.second):
            second[..., index] = radians(second[..., index], echo, series, settings)
    return first, second, affine


def radians(
    values: NDArray[np.float32],
    echo: gre_series.Echo,
    series: gre_series.GreSeries,
    settings: Settings,
) -> NDArray[np.float32]:
    """Return the phase of one echo in radians.

    Raises
    ------
    DataError
        Its scale is unknown or contradicts the values.
    """
    units, manufacturer = series.phase_units, series.manufacturer
    if settings.phase_units in ("rad", "mrad"):
        units = settings.phase_units
    elif settings.phase_units == "siemens":
        units, manufacturer = "arbitrary", "Siemens"
    slope, intercept = nifti.stored_scale(echo.path)
    try:
        return phase.scale_to_radians(
            values,
            units=units,
            manufacturer=manufacturer,
            header_slope=slope,
            header_intercept=intercept,
        )
    except DataError as error:
        raise DataError(f"{echo.path.name}: {error} Say what it is with --phase-units.") from error


def _described(report: PhaseReport) -> str:
    words = [f"sign {report.sign:+d} (by {report.sign_source})"]
    if report.chopped:
        words.append(f"every other slice was negated (by {report.chop_source})")
    if report.bipolar_rad:
        words.append(f"odd and even echoes differed by up to {2 * report.bipolar_rad:.2f} rad")
    if report.overflowed:
        words.append(f"{report.overflowed} negative magnitudes mended")
    if report.not_finite:
        words.append(f"{report.not_finite} values were not finite")
    return ", ".join(words)
