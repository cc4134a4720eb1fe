"""Whether the statistics hold what they promise: coverage, and ten thousand participants.

``python benchmarks/statistics.py coverage`` fits the models of the study to simulated cohorts of
known coefficients; the 95 % intervals must contain the truth in 93 to 97 % of them.
``python benchmarks/statistics.py speed`` runs the group level on 10,000 participants with 50
measures each (45 CPU-seconds and 1 GB are what is aimed at), ``speed --participants 95
--measures 7`` on the size of the study (10 CPU-seconds). A machine at work on other things counts
more CPU-seconds for the same work, so a piece of work that never changes is timed beside it.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from bids_qsmthal import group
from bids_qsmthal.group import analysis_file
from bids_qsmthal.statistics import regression, resampling
from bids_qsmthal.statistics.resampling import Resampling
from tests import cohorts

EFFECTS = {
    "enhancing": 8.0, "age": 0.25, "sex": 1.0, "dmt": -0.5, "duration": -0.05,
    "thalamic_volume": 9.0, "gray_matter_volume": -800.0, "cortical_thickness": -0.0005,
    "lesion_volume": 0.027,
}  # fmt: skip
TRUTH = {
    ("thalamic_volume_adjusted", "chi"): "thalamic_volume",
    ("gray_matter_adjusted", "chi"): "gray_matter_volume",
    ("thickness_adjusted", "chi"): "cortical_thickness",
    ("lesion_adjusted", "chi"): "lesion_volume",
    ("lesion_adjusted_age_50", "chi"): "lesion_volume",
    **{("chi_adjusted", name): name for name in ("enhancing", "age", "sex", "dmt", "duration")},
}


def coverage(n_cohorts: int, n: int, seed: int) -> pd.DataFrame:
    """Return, for each coefficient, bias and coverage of least squares, HC3 and the bootstrap."""
    models = {model.name: model for model in analysis_file.read(None).models}
    rng = np.random.default_rng(seed)
    rows = []
    for draw in range(n_cohorts):
        frame = cohorts.simulated(n, rng, EFFECTS)
        frame.loc[rng.random(n) < 0.05, "age"] = np.nan
        for name in {model for model, _ in TRUTH}:
            plain = regression.fit(models[name], frame)
            robust = regression.fit(_robust(models[name]), frame)
            for model, term in TRUTH:
                if model != name:
                    continue
                truth = EFFECTS[TRUTH[model, term]]
                for method, fit in (("ols", plain), ("hc3", robust)):
                    row = fit.row(term)
                    rows.append(
                        (model, term, method, truth, *row[["coefficient", "ci_low", "ci_high"]])
                    )
                if term == "chi" and draw % 5 == 0:
                    rows.append((model, term, "bootstrap", truth, *_bootstrap(plain, term, draw)))
    frame = pd.DataFrame(rows, columns=["model", "term", "method", "truth", "b", "low", "high"])
    frame = frame.astype(dict.fromkeys(("truth", "b", "low", "high"), float))
    frame["inside"] = (frame["low"] <= frame["truth"]) & (frame["truth"] <= frame["high"])
    return frame.groupby(["model", "term", "method"]).agg(
        cohorts=("b", "size"), truth=("truth", "first"), mean=("b", "mean"),
        coverage=("inside", "mean"),
    )  # fmt: skip


def _robust(model: regression.Model) -> regression.Model:
    return regression.Model(
        name=model.name, formula=model.formula, filter=model.filter, method="hc3"
    )


def _bootstrap(fit: regression.Fit, term: str, seed: int) -> tuple[float, float, float]:
    made = fit.design
    if made is None:
        raise ValueError(fit.note)
    column = made.names.index(term)
    how = Resampling(n_bootstraps=1000, seed=seed)
    estimate = float(fit.row(term)["coefficient"])
    drawn = resampling.bootstrap(made.outcome, made.predictors, column, how)
    left = resampling.leave_one_out(made.outcome, made.predictors, column)
    return estimate, *resampling.bca_interval(drawn, estimate, left.coefficients)


def speed(n: int, n_measures: int, folder: Path) -> None:
    """Write the measures of many participants, run the group level, print time and memory."""
    rng = np.random.default_rng(1)
    frame = cohorts.simulated(n, rng, EFFECTS)
    bids_dir, output_dir = cohorts.write(frame, folder)
    _add_measures(output_dir, n_measures - len(cohorts.MEASURES), rng)
    scale = [_fixed_work_s()]
    before, start = time.process_time(), time.perf_counter()
    group.process(bids_dir, output_dir)
    used, waited = time.process_time() - before, time.perf_counter() - start
    scale.append(_fixed_work_s())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    page = (output_dir / "group" / "group.html").stat().st_size / 2**20
    print(f"{n} participants, {n_measures} measures: {used:.1f} CPU-s, {waited:.1f} s, "
          f"peak {peak:.2f} GiB, page {page:.1f} MiB; "
          f"fixed work {scale[0]:.2f} CPU-s before, {scale[1]:.2f} after")  # fmt: skip


def _fixed_work_s() -> float:
    """Return the CPU-seconds of a piece of plain Python that is the same for ever."""
    before, total = time.process_time(), 0
    for value in range(10_000_000):
        total += value & 3
    return time.process_time() - before


def _add_measures(output_dir: Path, n: int, rng: np.random.Generator) -> None:
    """Append measures of other regions to every participant's file."""
    for path in output_dir.glob("sub-*/anat/*_measures.tsv"):
        who = path.parents[1].name
        values = rng.normal(50, 10, n)
        lines = [
            f"{who}\tn/a\tn/a\tchi_relative_csf\tregion{i}\tLR\t{value:.8g}\tppb\t100\t0\ttest\ttest"
            "\tinclude"
            for i, value in enumerate(values)
        ]
        path.write_text(path.read_text() + "\n".join(lines) + "\n")


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["coverage", "speed"])
    parser.add_argument("--cohorts", type=int, default=2000)
    parser.add_argument("--participants", type=int, help="95 for coverage, 10,000 for speed")
    parser.add_argument("--measures", type=int, default=50)
    parser.add_argument("--folder", type=Path, help="where the cohort and its page stay")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.what == "coverage":
        table = coverage(arguments.cohorts, arguments.participants or 95, arguments.seed)
        print(table.to_string(float_format="%.4g"))
    else:
        n = arguments.participants or 10_000
        with tempfile.TemporaryDirectory() as folder:
            speed(n, arguments.measures, arguments.folder or Path(folder))


if __name__ == "__main__":
    main()
