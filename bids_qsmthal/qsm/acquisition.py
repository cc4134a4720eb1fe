"""What the physics needs to know about a multi-echo gradient-echo scan."""

from dataclasses import dataclass

from bids_qsmthal.core.errors import DataError

GYROMAGNETIC_RATIO_HZ_PER_T = 42.577478518e6
"""Proton gyromagnetic ratio over 2 pi (CODATA 2018)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """Timing and field strength of one scan, in SI units.

    Attributes
    ----------
    echo_times_s
        Echo times in seconds, ascending.
    field_strength_t
        Main magnetic field in tesla.
    """

    echo_times_s: tuple[float, ...]
    field_strength_t: float

    def __post_init__(self) -> None:
        if not self.echo_times_s:
            raise DataError("A scan needs at least one echo time, but none was given.")
        if sorted(set(self.echo_times_s)) != list(self.echo_times_s):
            raise DataError(f"Echo times must ascend, but are {self.echo_times_s} s.")
        if self.echo_times_s[0] <= 0:
            raise DataError(f"Echo times must be positive, but are {self.echo_times_s} s.")
        if self.echo_times_s[-1] > 0.5:
            raise DataError(
                f"Echo time {self.echo_times_s[-1]:g} s is too long for a gradient echo. "
                f"BIDS wants seconds; did you mean {self.echo_times_s[-1] / 1e3:g} s?"
            )
        if not 0 < self.field_strength_t < 25:
            raise DataError(f"A field of {self.field_strength_t:g} T is not an MRI scanner.")

    @property
    def centre_frequency_hz(self) -> float:
        """Larmor frequency of the proton."""
        return GYROMAGNETIC_RATIO_HZ_PER_T * self.field_strength_t
