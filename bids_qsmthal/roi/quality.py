"""Is the number to be trusted: limits, verdicts, reasons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Mapping

INCLUDE, CHECK, EXCLUDE = "include", "check", "exclude"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The range in which a quality measure is unsuspicious.

    Attributes
    ----------
    name, unit
        What is measured.
    check, exclude
        (lowest, highest) values beyond which someone should look, and beyond which the
        participant is left out.
    reason
        What it means to be beyond.
    source
        Where the limits come from.
    """

    name: str
    unit: str
    check: tuple[float, float]
    reason: str
    source: str
    exclude: tuple[float, float] = (-np.inf, np.inf)

    def verdict(self, value: float) -> str:
        """Return ``include``, ``check`` or ``exclude``; what cannot be measured is checked."""
        if not np.isfinite(value):
            return CHECK
        if not self.exclude[0] <= value <= self.exclude[1]:
            return EXCLUDE
        return INCLUDE if self.check[0] <= value <= self.check[1] else CHECK


_METHODS = "definition of the method"
_AGREEMENT = "limits of agreement of ventricular CSF (Dimov 2022, doi 10.1002/mrm.29140)"
_SANITY = "sanity range of deep gray QSM at 3 T"

LIMITS: tuple[Limit, ...] = (
    Limit(
        name="thalamus_voxels_kept",
        unit="1",
        check=(100, np.inf),
        exclude=(20, np.inf),
        reason="too few thalamus voxels are left to measure",
        source=_METHODS,
    ),
    Limit(
        name="thalamus_lost_to_mask",
        unit="fraction",
        check=(-np.inf, 0.05),
        exclude=(-np.inf, 0.5),
        reason="part of the thalamus lies outside the QSM mask",
        source="the thalamus lies 4 cm inside the brain: only gross failure reaches it",
    ),
    Limit(
        name="thalamus_asymmetry",
        unit="fraction",
        check=(-0.2, 0.2),
        reason="left and right thalamus differ much in size",
        source="normal asymmetry below 10 %; segmentation CoV 6 % a side (FreeSurfer 5.1)",
    ),
    Limit(
        name="thalamus_volume_mm3",
        unit="mm3",
        check=(6000, 24000),
        exclude=(3000, 40000),
        reason="the thalami have an implausible volume",
        source="8.4-20.0 mL in Chiang et al. 2018 (doi 10.3174/ajnr.A5537), +-20 %",
    ),
    Limit(
        name="reference_step",
        unit="1",
        check=(0, 2),
        reason="the CSF reference is not in the atria",
        source="written ladder of the reference: steps 0-2 are the atria",
    ),
    Limit(
        name="reference_sd_ppb",
        unit="ppb",
        check=(-np.inf, 15.0),
        reason="susceptibility varies much within the CSF reference",
        source="consensus asks for the SD (Bilgic 2024, doi 10.1002/mrm.30006); simulated: 1-4 "
        "ppb at rest, 9 at motion of 0.6 mm, 18 at 1.2 mm; docs/quality.md",
    ),
    Limit(
        name="reference_asymmetry_ppb",
        unit="ppb",
        check=(-14.0, 14.0),
        reason="the left and the right CSF reference disagree",
        source=_AGREEMENT,
    ),
    Limit(
        name="reference_against_global_ppb",
        unit="ppb",
        check=(-14.0, 14.0),
        reason="the CSF reference and global CSF disagree",
        source=_AGREEMENT,
    ),
    Limit(
        name="chi_relative_csf_ppb",
        unit="ppb",
        check=(-75.0, 50.0),
        reason="the relative susceptibility of the thalamus is unusual",
        source="-61.5..6.4 ppb in Chiang et al. 2018, widened to healthy -20..30 ppb and noise",
    ),
    Limit(
        name="chi_relative_csf_se_ppb",
        unit="ppb",
        check=(-np.inf, 5.0),
        reason="the relative susceptibility is uncertain",
        source="half of the SD between patients (11.7 ppb, Chiang et al. 2018)",
    ),
    Limit(
        name="pallidum_relative_csf_ppb",
        unit="ppb",
        check=(40.0, 300.0),
        reason="the pallidum is not paramagnetic as it should be: is the sign of the phase right?",
        source=_SANITY,
    ),
    Limit(
        name="vein_share",
        unit="fraction",
        check=(-np.inf, 0.15),
        reason="much of the thalamus was taken for vein",
        source="blood is 2-4 % of deep gray matter",
    ),
    Limit(
        name="overlap",
        unit="fraction",
        check=(0.9, 1.0),
        exclude=(0.7, 1.0),
        reason="GRE and T1w brain do not overlap",
        source="brain masks of one head agree to about .95",
    ),
    Limit(
        name="outlier_fraction",
        unit="fraction",
        check=(-np.inf, 0.1),
        exclude=(-np.inf, 0.5),
        reason="the phase does not fit one frequency in many voxels: motion or corrupted phase",
        source="voxels whose residual is beyond that of the field fit (0.3 as in SEPIA)",
    ),
    Limit(
        name="ghost",
        unit="fraction",
        check=(-np.inf, 0.015),
        exclude=(-np.inf, 0.03),
        reason="the head repeats itself in the air beside it: motion or flow during the scan",
        source="simulated motion: 0 at rest, .013 at 0.3 mm (error below 1 ppb), .024 at 0.6 mm "
        "(up to 2.5 ppb), .032 at 1.2 mm (up to 9 ppb); docs/quality.md",
    ),
    Limit(
        name="mask_lost_fraction",
        unit="fraction",
        check=(-np.inf, 0.15),
        exclude=(-np.inf, 0.5),
        reason="much of the brain was lost on the way to susceptibility",
        source="a rim of 2 mm is about 10 % of the brain",
    ),
    Limit(
        name="snr",
        unit="1",
        check=(20.0, np.inf),
        exclude=(5.0, np.inf),
        reason="the GRE magnitude is noisy",
        source="phase noise 1/SNR: beyond 0.05 rad an echo adds more than the background error",
    ),
)


def quality(
    values: Mapping[str, float], *, limits: tuple[Limit, ...] = LIMITS
) -> tuple[pd.DataFrame, str]:
    """Judge every measure that has a limit.

    Returns
    -------
    table
        Columns name, value, unit, threshold, verdict, reason, source; measures that were not
        taken are absent. The reason is empty for a measure within its limits.
    verdict
        The worst of them.
    """
    rows = []
    for limit in limits:
        if limit.name not in values:
            continue
        value = float(values[limit.name])
        verdict = limit.verdict(value)
        rows.append(
            {
                "name": limit.name,
                "value": value,
                "unit": limit.unit,
                "threshold": _printed(limit),
                "verdict": verdict,
                "reason": "" if verdict == INCLUDE else limit.reason,
                "source": limit.source,
            }
        )
    columns = ["name", "value", "unit", "threshold", "verdict", "reason", "source"]
    return pd.DataFrame(rows, columns=columns), worst([str(row["verdict"]) for row in rows])


def worst(verdicts: list[str]) -> str:
    """Return ``exclude`` before ``check`` before ``include``."""
    order = (INCLUDE, CHECK, EXCLUDE)
    return max(verdicts, key=order.index, default=INCLUDE)


def _printed(limit: Limit) -> str:
    parts = []
    for word, (low, high) in ((CHECK, limit.check), (EXCLUDE, limit.exclude)):
        if np.isfinite(low):
            parts.append(f"{word} < {low:g}")
        if np.isfinite(high):
            parts.append(f"{word} > {high:g}")
    return "; ".join(parts)
