"""Is the number to be trusted: limits, and what is beyond them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bids_qsmthal.core.decision import Decision
from bids_qsmthal.core.scan_warnings import BeyondLimit

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The range in which a quality measure is unsuspicious.

    Attributes
    ----------
    name, unit
        What is measured.
    check, exclude
        (lowest, highest) values beyond which someone should look, and beyond which the
        participant is left out. What it means to be beyond is said in ``report.sentences``.
    source
        Where the limits come from.
    """

    name: str
    unit: str
    check: tuple[float, float]
    source: str
    exclude: tuple[float, float] = (-np.inf, np.inf)

    def decision(self, value: float) -> Decision:
        """Return what a value means for the participant; what cannot be measured is checked."""
        # Comparisons with NaN are false: without this line it would be excluded.
        if not np.isfinite(value):
            return Decision.CHECK
        if not self.exclude[0] <= value <= self.exclude[1]:
            return Decision.EXCLUDE
        return Decision.INCLUDE if self.check[0] <= value <= self.check[1] else Decision.CHECK


@dataclass(frozen=True, slots=True)
class Check:
    """A quality measure that was held against its limits."""

    limit: Limit
    value: float

    @property
    def decision(self) -> Decision:
        """What it means for the participant."""
        return self.limit.decision(self.value)

    @property
    def warning(self) -> BeyondLimit | None:
        """What the reader must know; None within the limits."""
        if self.decision is Decision.INCLUDE:
            return None
        return BeyondLimit(self.limit.name, self.value, self.limit.unit)


_METHODS = "definition of the method"
_AGREEMENT = "limits of agreement of ventricular CSF (Dimov 2022, doi 10.1111/jon.12923)"
_HOLES = (
    "a phantom at 2.5 mm: noise in the phase of the whole CSF reference changes the number by 5 "
    "ppb, in that of a whole thalamus by 2 ppb; docs/quality.md"
)
_NOISE = (
    "five simulated heads: 0 of 16 scans below 0.25 ppb were more than 3 ppb off, 2 of 8 up to "
    "0.4 ppb, 5 of 8 above; docs/roi.md"
)

LIMITS: tuple[Limit, ...] = (
    Limit(
        name="thalamus_voxels_kept",
        unit="1",
        check=(100, np.inf),
        exclude=(20, np.inf),
        source=_METHODS,
    ),
    Limit(
        name="thalamus_lost_to_mask",
        unit="fraction",
        check=(-np.inf, 0.05),
        exclude=(-np.inf, 0.5),
        source="the thalami lie 4 cm inside the brain: the map ends there only after a gross error",
    ),
    Limit(
        name="thalamus_without_phase",
        unit="fraction",
        check=(-np.inf, 0.1),
        exclude=(-np.inf, 0.5),
        source=_HOLES,
    ),
    Limit(
        name="thalamus_to_slab_end_mm",
        unit="mm",
        check=(25.0, np.inf),
        source="a slab of 76 mm around the pallidum keeps its value (Elkady 2016, doi "
        "10.1016/j.mri.2015.12.032), which leaves about 25 mm beyond the thalami on either side",
    ),
    Limit(
        name="thalamus_asymmetry",
        unit="fraction",
        check=(-0.2, 0.2),
        source="normal asymmetry below 10 %; segmentation CoV 6 % a side (FreeSurfer 5.1)",
    ),
    Limit(
        name="thalamus_volume_mm3",
        unit="mm3",
        check=(6720, 24000),
        exclude=(4200, 40000),
        source="8.4-20.0 mL in Chiang et al. 2018 (doi 10.3174/ajnr.A5537), ±20 %; excluded below "
        "half of the smallest and above twice the largest",
    ),
    Limit(
        name="acquired_voxel_mm3",
        unit="mm3",
        check=(-np.inf, 10.0),
        source="a phantom of ellipsoids whose fluid is thin: the number is 1.1 ppb off at cubes of "
        "2 mm (8 mm3), 3.7 ppb at 2.5 mm (16 mm3); docs/roi.md",
    ),
    Limit(
        name="reference_step",
        unit="1",
        check=(0, 2),
        source="the order in which regions are tried: 0 to 2 lie in the atria",
    ),
    Limit(
        name="reference_holds_csf",
        unit="1",
        check=(1, np.inf),
        # The number is the difference from CSF: what is relative to the whole brain is another one.
        exclude=(1, np.inf),
        source="Chiang et al. 2018 (doi 10.3174/ajnr.A5537): relative to ventricular CSF",
    ),
    Limit(
        name="reference_sd_ppb",
        unit="ppb",
        check=(-np.inf, 15.0),
        source="consensus asks for the SD (Bilgic 2024, doi 10.1002/mrm.30006); simulated: 1-4 "
        "ppb at rest, 9 at motion of 0.6 mm, 18 at 1.2 mm; docs/quality.md",
    ),
    Limit(
        name="reference_without_phase",
        unit="fraction",
        check=(-np.inf, 0.1),
        exclude=(-np.inf, 0.5),
        source=_HOLES,
    ),
    Limit(
        name="reference_asymmetry_ppb",
        unit="ppb",
        check=(-14.0, 14.0),
        source=_AGREEMENT,
    ),
    Limit(
        name="reference_against_global_ppb",
        unit="ppb",
        check=(-14.0, 14.0),
        source=_AGREEMENT,
    ),
    Limit(
        name="chi_relative_csf_ppb",
        unit="ppb",
        check=(-75.5, 44.0),
        source="-61.5 to 6.4 ppb in Chiang et al. 2018 and up to 30 ppb in the healthy, ±14 ppb, "
        "the limits of agreement of ventricular CSF (Dimov 2022, doi 10.1111/jon.12923)",
    ),
    Limit(
        name="chi_relative_csf_se_ppb",
        unit="ppb",
        check=(-np.inf, 1.5),
        exclude=(-np.inf, 5.85),
        source="SD between patients 11.7 ppb (Chiang et al. 2018): checked where the 95 % "
        "interval reaches more than a quarter of it (3 ppb) to either side, excluded above half "
        "of it",
    ),
    Limit(
        name="csf_purity",
        unit="fraction",
        check=(0.97, np.inf),
        exclude=(0.9, np.inf),
        source="tissue lies some 30 ppb below CSF: a share of 3 % shifts the zero of MEDI+0 by 1 "
        "ppb, one of 10 % by 3 ppb",
    ),
    Limit(
        name="rim_bone_share",
        unit="fraction",
        check=(-np.inf, 0.02),
        source="58 simulated scans whose mask held no bone: at most 0.008; 42 scans of six real "
        "heads with up to 1 mm of bone: 15 above 0.02, 8 of them more than 3 ppb off, and none "
        "below it in voxels up to 10 mm3; docs/quality.md",
    ),
    Limit(
        name="field_noise_per_ml_ppb",
        unit="ppb",
        check=(-np.inf, 0.25),
        exclude=(-np.inf, 0.4),
        source=_NOISE,
    ),
    Limit(
        name="pallidum_relative_csf_ppb",
        unit="ppb",
        check=(40.0, 300.0),
        source="a wrong sign makes it negative; sanity range of deep gray QSM at 3 T",
    ),
    Limit(
        name="vein_share",
        unit="fraction",
        check=(-np.inf, 0.15),
        source="blood is 2-4 % of deep gray matter",
    ),
    Limit(
        name="overlap",
        unit="fraction",
        # Asks for a look before the 0.85 below which the registration itself counts as failed.
        check=(0.9, 1.0),
        exclude=(0.7, 1.0),
        source="brain masks of one head agree to about .95",
    ),
    Limit(
        name="outlier_fraction",
        unit="fraction",
        check=(-np.inf, 0.1),
        exclude=(-np.inf, 0.5),
        source="voxels whose residual is beyond that of the field fit (0.3 as in SEPIA)",
    ),
    Limit(
        name="ghost",
        unit="fraction",
        check=(-np.inf, 0.015),
        exclude=(-np.inf, 0.03),
        source="simulated motion: 0 at rest, .013 at 0.3 mm (error below 1 ppb), .024 at 0.6 mm "
        "(up to 2.5 ppb), .032 at 1.2 mm (up to 9 ppb); docs/quality.md",
    ),
    Limit(
        name="mask_lost_fraction",
        unit="fraction",
        check=(-np.inf, 0.15),
        exclude=(-np.inf, 0.5),
        source="a rim of 2 mm is about 10 % of the brain",
    ),
    Limit(
        name="snr",
        unit="1",
        check=(20.0, np.inf),
        exclude=(5.0, np.inf),
        source="phase noise 1/SNR: beyond 0.05 rad an echo adds more than the background error",
    ),
)


def checks(values: Mapping[str, float], *, limits: tuple[Limit, ...] = LIMITS) -> tuple[Check, ...]:
    """Return every measure that has a limit, in the order of the limits.

    Measures that were not taken are absent.
    """
    return tuple(
        Check(limit, float(values[limit.name])) for limit in limits if limit.name in values
    )
