"""Coefficients of the error of the chain, and what intervals with them hold in other heads.

``python benchmarks/interval_fit.py TABLE.tsv ... [--cohort FOLDER ...]``

TABLE is what ``interval.py`` writes, FOLDER what ``cohort.py`` or ``realism.py`` leaves. The
variance of an error is the square of ``rest_ppb``, which the scan itself tells, and
a^2 + b^2 D + (c n)^2 (``roi.chain_error``). The coefficients maximise the normal likelihood of all
errors, for one side and for both together; each head counts as much as another for each protocol.
Fitted to one half of the heads they are held against the other half, and the other way round. Scans
without a CSF reference are left out, as they are excluded anyway. Coefficients are proven only on
heads on which no limit and no method was chosen.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize

from bids_qsmthal.core import nifti
from bids_qsmthal.core.affine import voxel_sizes_mm
from bids_qsmthal.roi.chain_error import ChainError

Float = NDArray[np.float64]

STARTS = ((0.5, 0.1, 0.6), (0.8, 0.2, 0.3), (1.0, 0.15, 0.5))
"""The likelihood has flat valleys where a coefficient is small: the best of three starts counts."""

NORMAL_95 = 1.96


def of_interval(path: Path) -> pd.DataFrame:
    """Return protocol, head, side, error, rest, fourth power of the edge (mm4) and noise."""
    found = pd.read_csv(path, sep="\t")
    heads = found["head"].where(found["head"] != "warped", "warped " + found["seed"].astype(str))
    edge_mm = found["size_mm"].clip(upper=ChainError().longest_edge_mm)
    kept = found.assign(head=heads, fourth_mm4=edge_mm**4)
    # Without CSF the number is relative to the brain, and no interval is meant to hold it.
    return kept[kept["reference_holds_csf"] > 0]


def of_cohort(folder: Path) -> Iterator[dict[str, object]]:
    """Yield the same of the scans that the app has measured; a cohort shares one protocol."""
    for path in sorted((folder / "derivatives").glob("sub-*/anat/*_measures.tsv")):
        participant = path.parts[-3]
        true = json.loads((folder / "truth" / participant / "truth.json").read_text())
        table = pd.read_csv(path, sep="\t", keep_default_na=False)
        value = table.set_index(["measure", "region", "hemisphere"])["value"]
        (noise_ppb,) = table.loc[table["measure"] == "qsm_field_noise_ppb", "value"].astype(float)
        affine = nifti.load(path.parent / f"{participant}_Chimap.nii.gz").affine
        edges_mm = np.minimum(voxel_sizes_mm(affine), ChainError().longest_edge_mm)
        one, both = ChainError()(tuple(edges_mm), noise_ppb)
        for side, chain_ppb in (("L", one), ("R", one), ("LR", both)):
            error, standard_error = (
                float(value[name, "thalamus", side])
                for name in ("chi_relative_csf", "chi_relative_csf_se")
            )
            yield {
                "protocol": folder.name,
                "head": f"{folder.name} {participant}",
                "side": side,
                "error_ppb": error - true["chi_relative_csf"][side],
                "rest_ppb": float(np.sqrt(max(standard_error**2 - chain_ppb**2, 0))),
                "fourth_mm4": float((edges_mm**4).mean()),
                "field_noise_ppb": noise_ppb,
            }


def variance(coefficients: Float, scans: pd.DataFrame) -> pd.Series:
    """Return the variance (ppb2) of the error of each scan."""
    a, b, c = coefficients
    chain = a**2 + b**2 * scans["fourth_mm4"] + (c * scans["field_noise_ppb"]) ** 2
    return scans["rest_ppb"] ** 2 + chain


def fitted(scans: pd.DataFrame) -> Float:
    """Return a (ppb), b (ppb per mm2) and c (ppb per ppb) of the largest likelihood."""
    # Sides of a scan, and repeats of a head in one protocol, err together.
    weight = 1 / scans.groupby(["head", "protocol", "side"])["side"].transform("size")

    def minus_log_likelihood(logarithms: Float) -> float:
        found = variance(np.exp(logarithms), scans)
        return float((weight * (np.log(found) + scans["error_ppb"] ** 2 / found)).sum() / 2)

    options: dict[str, Any] = {"maxiter": 4000}
    results = [
        minimize(minus_log_likelihood, np.log(start), method="Nelder-Mead", options=options)
        for start in STARTS
    ]
    return np.exp(min(results, key=lambda result: result.fun).x)


def held(coefficients: Float, scans: pd.DataFrame) -> pd.Series:
    """Return which 95 % intervals hold the truth."""
    return scans["error_ppb"].abs() <= NORMAL_95 * np.sqrt(variance(coefficients, scans))


def on_other_heads(scans: pd.DataFrame) -> pd.Series:
    """Return which intervals hold the truth with coefficients of the other half of the heads."""
    names = sorted(scans["head"].unique())
    first = scans["head"].isin(names[::2])
    halves = [scans[first], scans[~first]]
    return pd.concat([held(fitted(halves[1 - k]), halves[k]) for k in (0, 1)]).sort_index()


def shown(scans: pd.DataFrame, name: str, now: tuple[float, float, float]) -> pd.DataFrame:
    """Print coefficients and coverage of one side or of both; return coverage by protocol."""
    found = fitted(scans)
    print(f"{name}: a {found[0]:.2f} ppb, b {found[1]:.3f} ppb/mm2, c {found[2]:.2f}; now {now}")
    table = scans.assign(
        now=held(np.array(now), scans), fitted=held(found, scans), others=on_other_heads(scans)
    )
    for column in ("now", "fitted", "others"):
        print(f"  {column}: {table[column].sum()} of {len(table)} ({table[column].mean():.0%})")
    return table.groupby("protocol").agg(
        heads=("head", "nunique"),
        scans=("error_ppb", "size"),
        mean_error=("error_ppb", "mean"),
        rms_error=("error_ppb", lambda errors: float(np.sqrt((errors**2).mean()))),
        now=("now", "sum"),
        others=("others", "sum"),
    )


def main() -> None:
    """Read, fit, hold against other heads."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", type=Path, nargs="*")
    parser.add_argument("--cohort", type=Path, nargs="*", default=[])
    chosen = parser.parse_args()
    parts = [of_interval(path) for path in chosen.tables]
    parts += [pd.DataFrame(of_cohort(folder)) for folder in chosen.cohort]
    scans = pd.concat(parts, ignore_index=True)
    both = scans["side"] == "LR"
    print(f"{both.sum()} scans of {scans['head'].nunique()} heads")
    defaults = ChainError()
    for name, part, now in (
        ("both thalami", scans[both], defaults.both),
        ("one thalamus", scans[~both], defaults.one),
    ):
        print(shown(part, name, now).round(2).to_markdown())


if __name__ == "__main__":
    main()
