"""A cohort with the published relations between iron, lesions, enhancement and age."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd

from bids_qsmthal.simulate.parameters import COARSE, VENDORS, Parameters, Protocol

AGE_YEARS: Final = (42.0, 10.0)
CHI_PPB: Final = (-29.0, 11.7)
LN_LESION_PER_PPB: Final = 0.029
CHI_PER_YEAR_PPB: Final = 0.27
CHI_WITH_ENHANCEMENT_PPB: Final = 10.68
"""Means, deviations and adjusted slopes of Chiang et al., AJNR 2018;39:467-472."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One participant to be: label, what is written to participants.tsv, and how to make them."""

    label: str
    seed: int
    parameters: Parameters
    age: float
    sex: str
    disease_duration: float
    dmt: int
    edss: float

    @property
    def row(self) -> dict[str, object]:
        """Return the row of participants.tsv."""
        return {
            "participant_id": f"sub-{self.label}",
            "age": self.age,
            "sex": self.sex,
            "disease_duration": self.disease_duration,
            "dmt": self.dmt,
            "edss": self.edss,
            "enhancing_lesions": int(self.parameters.enhancing > 0),
        }


@dataclass(frozen=True, slots=True, eq=False)
class MeasuresCohort:
    """Tables of a cohort without images.

    Attributes
    ----------
    measures
        Tidy, the columns of ``desc-qsmthal_measures.tsv``.
    participants
        The rows of participants.tsv.
    coefficients
        True coefficients, ``outcome ~ predictor`` to slope, in the units of the study's tables.
    """

    measures: pd.DataFrame
    participants: pd.DataFrame
    coefficients: dict[str, float]


def draw_people(number: int, generator: np.random.Generator) -> pd.DataFrame:
    """Draw covariates, iron and lesions of patients with relapsing-remitting multiple sclerosis.

    Parameters
    ----------
    number
        Of patients.
    generator
        Source of randomness.

    Returns
    -------
    pandas.DataFrame
        One row a patient: age, sex, disease_duration, dmt, edss, enhancing, chi_ppb, lesion_ml,
        thalamus_mm3, gray_mm3, thickness_mm. chi follows age and enhancement, ln lesion volume
        follows chi, with the study's adjusted slopes; chi predicts neither volume nor thickness.
    """
    # The order of the draws is part of the seed: another one plans other people.
    age = np.clip(generator.normal(*AGE_YEARS, number), 18, 72).round(1)
    duration = np.minimum(generator.gamma(1.3, 6.85, number) + 0.3, age - 15).round(1)
    enhancing = (generator.random(number) < 9 / 95).astype(int)
    systematic = CHI_PER_YEAR_PPB * (age - AGE_YEARS[0]) + CHI_WITH_ENHANCEMENT_PPB * enhancing
    # -1.0 takes off the mean of enhancement (10.68 ppb in 9 of 95). Residuals of 11.0 and the
    # variance of age and enhancement together give the deviation of CHI_PPB.
    chi = CHI_PPB[0] - 1.0 + systematic + generator.normal(0, 11.0, number)
    logarithm = 1.6 + LN_LESION_PER_PPB * (chi - CHI_PPB[0]) + generator.normal(0, 1.3, number)
    return pd.DataFrame(
        {
            "age": age,
            "sex": np.where(generator.random(number) < 2 / 3, "F", "M"),
            "disease_duration": duration,
            "dmt": (generator.random(number) < 57 / 95).astype(int),
            "edss": np.clip(np.round(generator.gamma(1.0, 2.2, number) * 2) / 2, 0, 9),
            "enhancing": enhancing,
            "chi_ppb": chi,
            "lesion_ml": np.exp(logarithm),
            "thalamus_mm3": generator.normal(14000, 2100, number),
            "gray_mm3": generator.normal(607000, 67000, number) - 1500 * (age - AGE_YEARS[0]),
            "thickness_mm": generator.normal(2.40, 0.16, number),
        }
    )


def draw_cohort(
    number: int, seed: int, *, protocol: Protocol = COARSE, vendors: Sequence[str] = tuple(VENDORS)
) -> tuple[Planned, ...]:
    """Plan a cohort of imaged participants; vendors take turns.

    Parameters
    ----------
    number
        Of participants.
    seed
        The same seed plans the same cohort.
    protocol
        Of the gradient-echo scans.
    vendors
        Keys of ``VENDORS``.
    """
    generator = np.random.default_rng(seed)
    people: list[dict[str, Any]] = draw_people(number, generator).to_dict("records")  # type: ignore[assignment]
    return tuple(
        Planned(
            label=f"{order:02d}",
            # No two cohorts share a participant as long as they have fewer than a thousand.
            seed=seed * 1000 + order,
            parameters=replace(
                _parameters(person, generator),
                protocol=protocol,
                vendor=VENDORS[vendors[(order - 1) % len(vendors)]],
            ),
            age=float(person["age"]),
            sex=str(person["sex"]),
            disease_duration=float(person["disease_duration"]),
            dmt=int(person["dmt"]),
            edss=float(person["edss"]),
        )
        for order, person in enumerate(people, start=1)
    )


def _parameters(person: dict[str, Any], generator: np.random.Generator) -> Parameters:
    """Return how to image one person; what the tables do not say is drawn."""
    return Parameters(
        thalamus_chi_ppb=float(person["chi_ppb"]),
        lesion_ml=float(np.clip(person["lesion_ml"], 0.1, 50)),
        enhancing=int(person["enhancing"]) * int(generator.integers(1, 4)),
        atrophy=float(np.clip(0.02 * person["disease_duration"] + 0.1, 0, 1)),
        scale=float(generator.normal(0.9, 0.02)),
        oblique_deg=float(generator.uniform(-5, 25)),
        tilt_deg=float(generator.normal(0, 3)),
        calcified_plexus=bool(generator.random() < 0.3),
    )


def measures_cohort(number: int, seed: int) -> MeasuresCohort:
    """Return tables of a cohort with known coefficients, without images."""
    people = draw_people(number, np.random.default_rng(seed))
    labels = [f"sub-{order:03d}" for order in range(1, number + 1)]
    participants = people[["age", "sex", "disease_duration", "dmt", "edss"]].copy()
    participants.insert(0, "participant_id", labels)
    participants["enhancing_lesions"] = people["enhancing"]
    measures = [
        _tidy(labels, people[column] * factor, *names)
        for column, factor, names in (
            ("chi_ppb", 1, ("chi_relative_csf", "thalamus", "LR", "ppb")),
            ("thalamus_mm3", 1, ("volume", "thalamus", "LR", "mm3")),
            ("gray_mm3", 1, ("volume", "gray_matter", "n/a", "mm3")),
            ("thickness_mm", 1, ("thickness_mean", "cortex", "LR", "mm")),
            ("lesion_ml", 1000, ("volume", "lesion", "n/a", "mm3")),
            ("enhancing", 1, ("enhancing_count", "lesion", "n/a", "1")),
            ("enhancing", 1, ("enhancing_present", "lesion", "n/a", "1")),
        )
    ]
    return MeasuresCohort(
        pd.concat(measures, ignore_index=True),
        participants,
        {
            "ln_lesion ~ chi": LN_LESION_PER_PPB,
            "thalamic_volume ~ chi": 0.0,
            "gray_volume ~ chi": 0.0,
            "thickness ~ chi": 0.0,
            "chi ~ age": CHI_PER_YEAR_PPB,
            "chi ~ enhancing": CHI_WITH_ENHANCEMENT_PPB,
            "chi ~ sex": 0.0,
            "chi ~ dmt": 0.0,
            "chi ~ duration": 0.0,
        },
    )


def _tidy(
    labels: Sequence[str], values: pd.Series[float], measure: str, region: str, *rest: str
) -> pd.DataFrame:
    hemisphere, unit = rest
    return pd.DataFrame(
        {
            "participant_id": labels,
            "session_id": "n/a",
            "run_id": "n/a",
            "measure": measure,
            "region": region,
            "hemisphere": hemisphere,
            "value": values.astype(float),
            "unit": unit,
            "n_voxels": "n/a",
            "n_lost": "n/a",
            "method": "simulated",
            "source": "simulated",
            "qc": "pass",
        }
    )
