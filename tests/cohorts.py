"""Cohorts with known truth, and their files as the participant level writes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from bids_qsmthal.bids import manifest

MEASURES = {
    "chi": ("chi_relative_csf", "thalamus", "LR", "ppb"),
    "thalamic_volume": ("volume", "thalamus", "LR", "mm3"),
    "gray_matter_volume": ("volume", "gray_matter", "n/a", "mm3"),
    "cortical_thickness": ("thickness_mean", "cortex", "LR", "mm"),
    "lesion_volume": ("volume", "lesion", "n/a", "mm3"),
}
COLUMNS = [
    "participant_id", "session_id", "run_id", "measure", "region", "hemisphere", "value", "unit",
    "n_voxels", "n_lost", "method", "source", "qc",
]  # fmt: skip

# Printed in the unadjusted columns of Chiang et al. 2018: slope on chi, half width of its
# interval. The numbers between the rounding limits were chosen so that the p value agrees too.
SLOPES = {
    "thalamic_volume": (9.045, 37.05),
    "gray_matter_volume": (-860.4, 1165.5),
    "cortical_thickness": (-0.000693, 0.0014125 * 1.985802),
    "log_lesion_volume": (0.0263, 0.0247),
}
MEANS = {
    "thalamic_volume": 14_000.0,
    "gray_matter_volume": 607_000.0,
    "cortical_thickness": 2.40,
    "log_lesion_volume": 1.6,
}
# Slope of chi on each characteristic, its half width, and the mean and count or SD it implies.
CHARACTERISTICS = {
    "enhancing": (8.4005, 7.9951),
    "age": (0.1915, 0.2285),
    "sex": (0.746, 5.105),
    "dmt": (-0.57, 4.89),
    "duration": (-0.023, 0.3075),
}
COUNTS = {"enhancing": 9, "sex": 31, "dmt": 57}
CHI_SD = 11.695
N = 95


def published(seed: int = 2018) -> pd.DataFrame:
    """Return 95 participants with exactly the sufficient statistics that the study prints.

    Each characteristic has the variance that makes the printed interval of its slope come out;
    chi is then built to have the printed covariance with each, and each outcome is a printed
    multiple of chi plus a residual of the printed size that is orthogonal to chi.
    """
    rng = np.random.default_rng(seed)
    t = 1.985802  # Student's t, 0.975, 93 degrees of freedom
    predictors = {}
    for name, (slope, half) in CHARACTERISTICS.items():
        if name in COUNTS:
            column = rng.permutation((np.arange(N) < COUNTS[name]).astype(float))
        else:
            # slope and its error fix the variance: se^2 = (var_y - slope^2 var_x) / (93 var_x)
            variance = CHI_SD**2 / (93 * (half / t) ** 2 + slope**2)
            # Nobody has been ill for less than no time: a distribution that begins near its mean
            # minus one standard deviation, as the study's mean and standard deviation ask for.
            draw = rng.exponential if name == "duration" else rng.standard_normal
            column = _standardised(draw(size=N)) * np.sqrt(variance)
            column += {"age": 42.0, "duration": 8.9}[name]
        predictors[name] = column
    frame = pd.DataFrame(predictors)
    centred = (frame - frame.mean()).to_numpy()
    slopes = np.array([slope for slope, _ in CHARACTERISTICS.values()])
    wanted = slopes * np.sum(centred**2, axis=0)
    explained = centred @ np.linalg.solve(centred.T @ centred, wanted)
    rest = _orthogonal(rng.standard_normal(N), centred)
    size = np.sqrt(CHI_SD**2 * (N - 1) - explained @ explained)
    chi = explained + rest / np.linalg.norm(rest) * size
    frame["chi"] = chi - 29.0
    for name, (slope, half) in SLOPES.items():
        error = half / t
        rest = _orthogonal(rng.standard_normal(N), chi[:, None])
        rest *= error * np.linalg.norm(chi) * np.sqrt(93) / np.linalg.norm(rest)
        frame[name] = MEANS[name] + slope * chi + rest
    frame["lesion_volume"] = np.exp(frame.pop("log_lesion_volume"))
    return frame


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
        frame[name] = MEANS[name] + effects.get(name, 0.0) * (frame["chi"] + 29.0) + noise
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
