"""The whole chain on a simulated cohort: error, attenuation and coverage of each measure.

python benchmarks/cohort.py FOLDER [--participants N] [--protocol NAME] [--seed N] [APP OPTIONS]

Makes the cohort in FOLDER (used again if it is there), runs the app on it with its own masks, and
prints estimate minus truth for each participant, then mean, mean absolute error, correlation, slope
of the error against the truth, and how many 95 % intervals cover the truth; then how the regions in
the gradient echo lie on the true ones. Options that this command does not know go to the app.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd

from bids_qsmthal import simulate
from bids_qsmthal.core import nifti
from bids_qsmthal.simulate.parameters import PROTOCOLS

CHI_PPB = (-45.0, 10.0)
LESION_ML = (0.3, 40.0)
MEASURES = (
    # Measure, region, hemisphere; key of the truth; factor; unit.
    ("chi_relative_csf", "thalamus", "LR", "chi_relative_csf LR", 1, "ppb"),
    ("chi_relative_csf", "thalamus", "L", "chi_relative_csf L", 1, "ppb"),
    ("chi_relative_csf", "thalamus", "R", "chi_relative_csf R", 1, "ppb"),
    ("volume", "thalamus", "LR", "volume_mm3 thalamus_LR", 1e-3, "mL"),
    ("volume", "gray_matter", "n/a", "volume_mm3 gray_matter", 1e-3, "mL"),
    ("volume", "white_matter", "n/a", "volume_mm3 white_matter", 1e-3, "mL"),
    ("volume", "lesion", "n/a", "volume_mm3 lesion", 1e-3, "mL"),
    ("enhancing_count", "enhancing", "n/a", "enhancing_count", 1, ""),
)


def main() -> None:
    """Make, process, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--participants", type=int, default=12)
    parser.add_argument("--protocol", choices=sorted(PROTOCOLS), default="coarse")
    parser.add_argument("--seed", type=int, default=11)
    chosen, options = parser.parse_known_args()
    bids, truth, found = (chosen.folder / name for name in ("bids", "truth", "derivatives"))
    cohort = planned(chosen.participants, chosen.seed, chosen.protocol)
    make(chosen.folder, cohort)
    command = [sys.executable, "-m", "bids_qsmthal", str(bids), str(found), "participant"]
    status = subprocess.run([*command, *options], check=False).returncode
    for measure in MEASURES:
        show(measure, compared(measure, truth, found))
    show_regions(regions(truth, found))
    raise SystemExit(status)


def planned(number: int, seed: int, protocol: str) -> tuple[simulate.Planned, ...]:
    """Plan people whose iron and lesions are spread over their range, each for itself."""
    drawn = simulate.draw_cohort(number, seed, protocol=PROTOCOLS[protocol])
    generator = np.random.default_rng(seed)
    chi = generator.permutation(np.linspace(*CHI_PPB, number))
    lesions = generator.permutation(np.geomspace(*LESION_ML, number))
    return tuple(
        replace(
            person,
            parameters=replace(
                person.parameters,
                thalamus_chi_ppb=float(chi[order]),
                lesion_ml=float(lesions[order]),
                enhancing=order % 3,
            ),
        )
        for order, person in enumerate(drawn)
    )


def make(folder: Path, cohort: tuple[simulate.Planned, ...]) -> None:
    """Simulate the cohort unless it is there, from the same plan."""
    receipt = folder / "plan.json"
    plan = json.dumps([asdict(person) for person in cohort], indent=1)
    if receipt.is_file() and receipt.read_text() == plan:
        return
    folder.mkdir(parents=True, exist_ok=True)
    simulate.write_dataset(folder / "bids", cohort)
    receipt.write_text(plan)


def compared(
    measure: tuple[str, str, str, str, float, str], truth: Path, found: Path
) -> pd.DataFrame:
    """Return truth, estimate and its interval, a row a participant."""
    name, region, hemisphere, key, factor, _ = measure
    rows = []
    for path in sorted(found.glob("sub-*/anat/*_desc-qsmthal_measures.tsv")):
        participant = path.parents[1].name
        table = pd.read_csv(path, sep="\t", keep_default_na=False)
        here = (table["region"] == region) & (table["hemisphere"] == hemisphere)
        values = table[here].set_index("measure")["value"]
        true = json.loads((truth / participant / "truth.json").read_text())
        for part in key.split():
            true = true[part]
        value, low, high = (
            factor * pd.to_numeric(values.get(key, np.nan), errors="coerce")
            for key in (name, f"{name}_ci_low", f"{name}_ci_high")
        )
        rows.append((participant, factor * true, value, low, high))
    return pd.DataFrame(rows, columns=["participant", "truth", "estimate", "low", "high"])


def show(measure: tuple[str, str, str, str, float, str], table: pd.DataFrame) -> None:
    """Print the errors of one measure."""
    name, region, hemisphere, _, _, unit = measure
    error = table["estimate"] - table["truth"]
    print(f"\n{' '.join(word for word in (name, region, hemisphere) if word != 'n/a')} {unit}")
    for (_, row), value in zip(table.iterrows(), error, strict=True):
        print(f"  {row['participant']} truth {row['truth']:9.2f} error {value:+8.2f}")
    if len(table) > 2 and table["truth"].std() > 0:
        slope = np.polyfit(table["truth"], error, 1)[0]
        r = np.corrcoef(table["truth"], table["estimate"])[0, 1]
        relative = 100 * (error / table["truth"].replace(0, np.nan)).abs().mean()
        print(
            f"  mean {error.mean():+.2f}, mean absolute {error.abs().mean():.2f} "
            f"({relative:.1f} %), r {r:.3f}, slope of the error {slope:+.3f}"
        )
    if table["low"].notna().any():
        covered = table["truth"].between(table["low"], table["high"])
        print(f"  95 % intervals that cover the truth: {covered.sum()} of {len(table)}")


THALAMI = (10, 49)
"""Left and right thalamus among the app's labels."""


def regions(truth: Path, found: Path) -> pd.DataFrame:
    """Return how regions lie on the true ones, a row a participant, in per cent but for Dice.

    A vein voxel holds at least 30 % vein. Veins count as removed where the final mask has none of
    them; thalamus as lost to veins where the vein mask takes a voxel that holds none.
    """
    rows = {}
    for path in sorted(found.glob("sub-*/anat/*_desc-thalamus_dseg.nii.gz")):
        participant = path.parents[1].name
        ours = {key: image(path.parent, participant, stem) for key, stem in OURS.items()}
        true = {key: image(truth / participant, participant, stem) for key, stem in TRUE.items()}
        label, thalamus = np.isin(ours["labels"], THALAMI), true["thalamus"] > 0
        fluid = ((true["ventricle"] > 0) | (true["atria"] > 0)) & (true["plexus"] == 0)
        vein = true["vein"] > 0
        rows[participant] = {
            "Dice L": dice(ours["labels"] == THALAMI[0], true["thalamus"] == 1),
            "Dice R": dice(ours["labels"] == THALAMI[1], true["thalamus"] == 2),
            "kept mask in thalamus": share(ours["final"] > 0, thalamus),
            "veins removed": share(label & vein, ours["final"] == 0),
            "thalamus lost to veins": share(label & thalamus & ~vein, ours["vein"] > 0),
            "reference in fluid": share(ours["reference"] > 0, fluid),
            "reference voxels": float((ours["reference"] > 0).sum()),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


OURS = {
    "labels": "space-MEGRE_desc-deepgray_dseg",
    "final": "space-MEGRE_desc-thalamus_dseg",
    "vein": "space-MEGRE_label-vein_mask",
    "reference": "space-MEGRE_label-CSF_desc-reference_mask",
}
TRUE = {
    key: f"space-MEGRE_label-{key}_mask"
    for key in ("thalamus", "vein", "ventricle", "atria", "plexus")
}


def image(folder: Path, participant: str, stem: str) -> np.ndarray:
    """Return one image of a participant."""
    return nifti.load(folder / f"{participant}_{stem}.nii.gz").data


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Return twice the overlap over the sum."""
    return 2 * float((first & second).sum()) / float(first.sum() + second.sum())


def share(mask: np.ndarray, inside: np.ndarray) -> float:
    """Return how much of a mask lies inside another, in per cent; NaN where it is empty."""
    return 100 * float((mask & inside).sum()) / float(mask.sum()) if mask.any() else np.nan


def show_regions(table: pd.DataFrame) -> None:
    """Print how regions lie on the true ones."""
    summary = pd.DataFrame({"mean": table.mean(), "least": table.min(), "most": table.max()})
    print("\nRegions in the gradient echo (voxels, Dice, and per cent)")
    print(table.round(2).to_string())
    print(summary.round(2).T.to_string())


if __name__ == "__main__":
    main()
