"""Cohorts with known truth, and their files as the participant level writes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from bids_qsmthal.bids import manifest

MEASURES = {
    "chi": ("chi_relative_csf", "thalamus", "LR", "ppb"),
    "thalamic_volume": ("volume", "thalamus", "LR", "mm3"),
    "gray_matter_volume": ("volume", "gray_matter", "n/a", "mm3"),
    "cortical_thickness": ("thickness_mean", "cortex", "LR", "mm"),
    "lesion_volume": ("volume", "lesion", "n/a", "mm3"),
    "paramagnetic": ("chi_paramagnetic_mean", "thalamus", "LR", "ppb"),
    "diamagnetic": ("chi_diamagnetic_mean", "thalamus", "LR", "ppb"),
}
COLUMNS = [
    "participant_id", "session_id", "run_id", "measure", "region", "hemisphere", "value", "unit",
    "n_voxels", "n_lost", "method", "source", "qc",
]  # fmt: skip

# What Chiang et al. 2018 print, each number chosen between its rounding limits so that the numbers
# of a row, its p included, agree with each other and with the other rows. Per characteristic: the
# slope of chi on it alone. That, the counts and the correlations below fix the adjusted column.
SLOPES = {"enhancing": 8.40187, "age": 0.190303, "sex": 0.747294, "dmt": -0.568941,
          "duration": -0.0233545}  # fmt: skip
CHI_SD = 11.6942
COUNTS = {"enhancing": 9, "sex": 31, "dmt": 57}
BOTH = {("enhancing", "sex"): 1, ("enhancing", "dmt"): 4, ("sex", "dmt"): 15}
"""How many participants have both; nobody has all three."""

AGE_SD, DURATION_SD = 10.4518, 7.83916
AGE_CORRELATIONS = {"enhancing": -0.226877, "sex": 0.0486076, "dmt": -0.0329324}
DURATION_CORRELATIONS = {"enhancing": -0.193761, "sex": -0.0670042, "dmt": -0.0596866,
                         "age": 0.350945}  # fmt: skip
COVARIATES = ["age", "sex", "duration", "dmt"]


@dataclass(frozen=True)
class Outcome:
    """Slope on chi and half width of its interval, alone and with the covariates of the study."""

    mean: float
    alone: tuple[float, float]
    adjusted: tuple[float, float]
    covariates: tuple[float, float, float, float]
    """Direction of the effects of age, sex, duration and treatment; their size follows."""


OUTCOMES = {
    "thalamic_volume": Outcome(14_000.0, (9.045, 37.05), (9.4, 38.3), (-1.0, 5.0, -1.0, 0.0)),
    "gray_matter_volume": Outcome(
        607_000.0, (-860.4, 1165.5), (-720.0, 1011.0), (-1.0, 2.0, -0.5, 0.0)
    ),
    "cortical_thickness": Outcome(
        2.40, (-0.000693, 0.002805), (-0.00008, 0.0025), (-1.0, 0.0, -0.5, 0.0)
    ),
    # The text gives p of the covariates, too: .25, .90, < .001 and .81.
    "log_lesion_volume": Outcome(
        1.6, (0.02612, 0.0244801), (0.029329, 0.0235891), (-0.01633, -0.0357, 0.071486, -0.066406)
    ),
}
N = 95


def published(seed: int = 1193) -> pd.DataFrame:
    """Return 95 participants with exactly the sufficient statistics that the study prints.

    Age and duration are built to have their correlations with each other and with what is counted,
    chi to have the printed covariance with each, and each outcome to have its printed slopes on
    chi, alone and adjusted, with both their errors.
    """
    rng = np.random.default_rng(seed)
    frame = _counted(rng)
    draw = _standardised(rng.standard_normal(N).clip(-1.6, 2.8))
    frame["age"] = 42 + AGE_SD * _correlated(frame, AGE_CORRELATIONS, draw)
    # Nobody has been ill for less than no time: a distribution that begins near its mean minus one
    # standard deviation, as the study's mean and standard deviation ask for, and wider with age.
    draw = rng.beta(0.5, 1.4, size=N) * np.exp(0.3 * (frame["age"] - 42) / AGE_SD)
    frame["duration"] = 8.9 + DURATION_SD * _correlated(frame, DURATION_CORRELATIONS, draw)
    frame = frame[list(SLOPES)]
    variances = frame.var().to_numpy()
    correlations = np.array(list(SLOPES.values())) * np.sqrt(variances) / CHI_SD
    wanted = dict(zip(SLOPES, correlations, strict=True))
    frame["chi"] = -29 + CHI_SD * _correlated(frame, wanted, rng.standard_normal(N))
    for name, outcome in OUTCOMES.items():
        frame[name] = _outcome(frame, outcome, rng)
    frame["lesion_volume"] = np.exp(frame.pop("log_lesion_volume"))
    return frame


def _counted(rng: np.random.Generator) -> pd.DataFrame:
    """Return what is counted, with the numbers of each, of each two, and nobody with all three."""
    names = list(COUNTS)
    rows = [pair for pair, n in BOTH.items() for _ in range(n)]
    for name, n in COUNTS.items():
        rows += [(name,)] * (n - sum(both for pair, both in BOTH.items() if name in pair))
    rows += [()] * (N - len(rows))
    carried = np.array([[name in row for name in names] for row in rows], dtype=float)
    return pd.DataFrame(rng.permutation(carried), columns=names)


def _correlated(
    frame: pd.DataFrame, correlations: Mapping[str, float], draw: np.ndarray
) -> np.ndarray:
    """Return standardised values with exact correlations with some columns, the rest as drawn."""
    others = np.column_stack([_standardised(frame[name].to_numpy()) for name in correlations])
    weights = np.linalg.solve(np.corrcoef(others, rowvar=False), list(correlations.values()))
    explained = others @ weights
    rest = _standardised(_orthogonal(draw, others))
    return explained + rest * np.sqrt(1 - explained.var(ddof=1))


def _outcome(frame: pd.DataFrame, outcome: Outcome, rng: np.random.Generator) -> np.ndarray:
    """Return an outcome with two slopes on chi and their errors.

    Effects of the covariates change the slope by their product with the slopes of the covariates
    on chi, and take from the residuals what they explain beside chi (Frisch, Waugh and Lovell).
    """
    chi = (frame["chi"] - frame["chi"].mean()).to_numpy()
    covariates = (frame[COVARIATES] - frame[COVARIATES].mean()).to_numpy()
    t_alone, t_adjusted = stats.t.ppf(0.975, [N - 2, N - 6])
    own = _orthogonal(chi, covariates)
    slope, half = outcome.alone
    unexplained = (N - 2) * (half / t_alone) ** 2 * (chi @ chi)
    left = (N - 6) * (outcome.adjusted[1] / t_adjusted) ** 2 * (own @ own)
    on_chi = covariates.T @ chi / (chi @ chi)
    beside = covariates - np.outer(chi, on_chi)
    products = beside.T @ beside
    # The smallest effects that change the slope as wanted, and as much as is missing along a
    # direction that does not change it.
    smallest = np.linalg.solve(products, on_chi)
    along = np.array(outcome.covariates) - smallest * (
        on_chi @ outcome.covariates / (on_chi @ smallest)
    )
    effects = smallest * (slope - outcome.adjusted[0]) / (on_chi @ smallest)
    missing = unexplained - left - effects @ products @ effects
    effects = effects + along * np.sqrt(missing / (along @ products @ along))
    rest = _orthogonal(rng.standard_normal(N), np.column_stack([chi, covariates]))
    rest *= np.sqrt(left) / np.linalg.norm(rest)
    return outcome.mean + slope * chi + beside @ effects + rest


def simulated(n: int, rng: np.random.Generator, effects: Mapping[str, float]) -> pd.DataFrame:
    """Return participants whose chi, and outcomes through chi, have known coefficients.

    ``effects`` holds the coefficient of each characteristic on chi, and of chi on each outcome.
    """
    frame = pd.DataFrame(
        {
            "age": rng.uniform(25, 71, n),
            "sex": rng.integers(0, 2, n).astype(float),
            "duration": rng.gamma(1.3, 6.8, n),
            "dmt": rng.integers(0, 2, n).astype(float),
            "enhancing": (rng.random(n) < 0.2).astype(float),
        }
    )
    drive = sum(effects.get(name, 0.0) * frame[name] for name in frame)
    frame["chi"] = -40.0 + drive + rng.normal(0, 11, n)
    spread = {"thalamic_volume": 2000.0, "gray_matter_volume": 60_000.0, "cortical_thickness": 0.15}
    for name, sd in spread.items():
        noise = rng.normal(0, sd, n)
        frame[name] = OUTCOMES[name].mean + effects.get(name, 0.0) * (frame["chi"] + 29.0) + noise
    log_volume = 1.6 + effects.get("lesion_volume", 0.0) * (frame["chi"] + 29.0)
    frame["lesion_volume"] = np.exp(log_volume + 0.04 * frame["duration"] + rng.normal(0, 1.2, n))
    return frame


def write(cohort: pd.DataFrame, root: Path) -> tuple[Path, Path]:
    """Write a cohort as participants.tsv and each one's measures; return both folders."""
    bids_dir, output_dir = root / "bids", root / "derivatives"
    bids_dir.mkdir(parents=True)
    people = participants(cohort)
    people.to_csv(bids_dir / "participants.tsv", sep="\t", index=False, na_rep="n/a")
    for name, (_, row) in zip(people["participant_id"], cohort.iterrows(), strict=True):
        write_measures(output_dir, name, row.to_dict())
    return bids_dir, output_dir


def participants(cohort: pd.DataFrame) -> pd.DataFrame:
    """Return participants.tsv of a cohort."""
    words = {0.0: "F", 1.0: "M"}
    table = pd.DataFrame({"participant_id": [f"sub-{i:04d}" for i in range(1, len(cohort) + 1)]})
    table["age"] = cohort["age"].to_numpy()
    table["sex"] = cohort["sex"].map(words).to_numpy()
    table["disease_duration"] = cohort["duration"].to_numpy()
    for name in ("dmt", "enhancing"):
        table[name] = cohort[name].astype("Int64").to_numpy()
    return table.rename(columns={"enhancing": "enhancing_lesions"})


def write_measures(
    output_dir: Path,
    participant: str,
    values: Mapping[str, float],
    *,
    labels: tuple[str, str] = ("n/a", "n/a"),
    qc: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
) -> Path:
    """Write the measures of one participant; ``labels`` are session and run."""
    session, run = labels
    folder = output_dir / participant / ("" if session == "n/a" else session) / "anat"
    folder.mkdir(parents=True, exist_ok=True)
    stem = "_".join(part for part in (participant, session, run) if part != "n/a")
    rows = []
    for name, (measure, region, hemisphere, unit) in MEASURES.items():
        if name not in values:
            continue
        # The participant level writes lesion volume in mm3.
        value = values[name] * (1000 if name == "lesion_volume" else 1)
        rows.append(
            [participant, session, run, measure, region, hemisphere, value,
             (units or {}).get(name, unit), 100, 0, "test", "test", (qc or {}).get(name, "include")]
        )  # fmt: skip
    path = folder / f"{stem}_desc-qsmthal_measures.tsv"
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame.to_csv(path, sep="\t", index=False, na_rep="n/a", float_format="%.12g")
    return path


def finish(output_dir: Path) -> None:
    """Write the manifest of every session, as a participant level that ends well does."""
    for folder in sorted(path.parent for path in output_dir.glob("**/anat")):
        name = "_".join(folder.relative_to(output_dir).parts)
        manifest.write_of(output_dir, name, folder)


def _standardised(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean()
    return centred / centred.std(ddof=1)


def _orthogonal(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return what of the values is orthogonal to other columns and to a constant."""
    basis = np.column_stack([np.ones(len(values)), others])
    return values - basis @ np.linalg.lstsq(basis, values, rcond=None)[0]
