"""What the physics needs to know about a multi-echo gradient-echo scan."""

from dataclasses import dataclass

from bids_qsmthal.core.errors import DataError

GYROMAGNETIC_RATIO_HZ_PER_T = 42.577478518e6
"""Proton gyromagnetic ratio over 2 pi (CODATA 2018)."""

LEAST_LAST_ECHO_S = 1e-3
"""Susceptibility turns the phase by 0.02 rad in 1 ms (20 ppb at 3 T): no shorter scan tells it."""

FIELDS_T = (0.05, 15.0)
"""From portable scanners (0.064 T) to the strongest magnets for people (11.7 T, 14 T planned)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """Timing and field strength of one scan, in SI units.

    Attributes
    ----------
    echo_times_s
        Echo times in seconds, ascending.
    field_strength_t
        Main magnetic field in tesla, often a nominal value: a "3 T" magnet of 2.894 T is common.
    imaging_frequency_hz
        Frequency the scanner was tuned to; ``None`` where it is not known.
    """

    echo_times_s: tuple[float, ...]
    field_strength_t: float
    imaging_frequency_hz: float | None = None

    def __post_init__(self) -> None:
        if not self.echo_times_s:
            raise DataError("A scan needs at least one echo time, but none was given.")
        if sorted(set(self.echo_times_s)) != list(self.echo_times_s):
            raise DataError(f"Echo times must ascend, but are {self.echo_times_s} s.")
        if self.echo_times_s[0] <= 0:
            raise DataError(f"Echo times must be positive, but are {self.echo_times_s} s.")
        # T2* of tissue is tens of ms and no gradient echo is left after 0.5 s: these are ms.
        if self.echo_times_s[-1] > 0.5:
            # Above 500 ms the number can only be one of microseconds.
            per_s = 1e3 if self.echo_times_s[-1] <= 500 else 1e6
            raise DataError(
                f"Echo time {self.echo_times_s[-1]:g} s is too long for a gradient echo. "
                f"BIDS wants seconds; did you mean {self.echo_times_s[-1] / per_s:g} s?"
            )
        if self.echo_times_s[-1] < LEAST_LAST_ECHO_S:
            raise DataError(
                f"The last echo time is {self.echo_times_s[-1]:g} s, expected at least "
                f"{LEAST_LAST_ECHO_S:g} s. BIDS wants seconds; were they divided by 1000 twice?"
            )
        low, high = FIELDS_T
        if not low <= self.field_strength_t <= high:
            raise DataError(
                f"A field of {self.field_strength_t:g} T is not that of a scanner for humans, "
                f"expected {low:g} to {high:g} T."
            )

    @property
    def nominal_frequency_hz(self) -> float:
        """Larmor frequency of the proton at the stated field strength."""
        return GYROMAGNETIC_RATIO_HZ_PER_T * self.field_strength_t

    @property
    def centre_frequency_hz(self) -> float:
        """Frequency that a field in ppm is relative to: measured where known, else nominal."""
        # The frequency scales every field in ppm: with 3 T nominal and 2.894 T true, chi would be
        # 3.5 % too small.
        return self.imaging_frequency_hz or self.nominal_frequency_hz

    @property
    def effective_field_t(self) -> float:
        """Main field in tesla by the imaging frequency where known, else as stated."""
        return self.centre_frequency_hz / GYROMAGNETIC_RATIO_HZ_PER_T
