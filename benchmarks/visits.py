"""Change over three simulated visits of whole runs, beside the truth.

``python benchmarks/visits.py make OUT [--people N] [--first N] [--seed S] [OPTION ...]``
``python benchmarks/visits.py score OUT``

Every person has three visits a year apart, each with a pose and noise of its own. Nothing changes
from the first to the second. At the third the ventricles are wider and the thalami smaller, the
thalami have another susceptibility, and there are new lesions of 3 to 10 mm; all amounts are drawn.
The app runs on the raw files (further options are given to it); FLAIR has slices of 1 mm in persons
with an even number and of 3 mm in the others. ``score`` reads what was made: errors of change
and of the difference of two single runs, how often intervals hold the truth, slopes, and which new
lesions were found.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from bids_qsmthal import simulate
from bids_qsmthal.core import nifti
from bids_qsmthal.core.affine import apply
from bids_qsmthal.core.files import write_json, write_text, write_tsv
from bids_qsmthal.core.image import Image
from bids_qsmthal.lesions import LesionChange
from bids_qsmthal.lesions.growth import components
from bids_qsmthal.simulate.heads import draw_head
from bids_qsmthal.simulate.progression import NO_PROGRESSION, Ball, Progression, new_lesions

ATROPHY: Final = (0.01, 0.05)
"""Range at the third visit, in parts of full atrophy; .05 takes about 3 % of the thalami."""

CHI_PPB: Final = 8.0
"""Largest change of thalamic susceptibility at the third visit."""

NEW_MM: Final = (3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 8.0, 10.0)
"""Diameters of the new lesions."""

NEAR_MM: Final = 1.5
"""A proposal that comes so near to a true new lesion has found it: a voxel and its diagonal."""

VISITS: Final = 3
OPTIONS: Final = ("--longitudinal", "auto", "--nprocs", "1", "--skip-bids-validation")

MEASURES: Final = {
    ("chi_relative_csf", "thalamus", "LR"): "chi_relative_csf",
    ("volume", "thalamus", "LR"): "thalamus_LR",
    ("volume", "lateral_ventricle", "LR"): "ventricle_lateral",
    ("volume", "gray_matter", "n/a"): "gray_matter",
    ("volume", "white_matter", "n/a"): "white_matter",
}
"""Measure, region and hemisphere, and where the truth has it."""


class Person(NamedTuple):
    """One person with what is different at the third visit."""

    planned: simulate.Planned
    later: Progression


def plan(number: int, seed: int) -> Person:
    """Draw a person and the change up to the third visit."""
    planned = simulate.draw_cohort(number + 1, seed)[number]
    parameters = replace(planned.parameters, flair_thickness=3 if number % 2 else 1, enhancing=0)
    rng = np.random.default_rng([seed, number, 22])
    # The head as ``participant`` draws it: its first stream.
    anatomy = np.random.default_rng(np.random.SeedSequence(planned.seed).spawn(4)[0])
    head = draw_head(parameters, anatomy)
    later = Progression(
        atrophy=float(rng.uniform(*ATROPHY)),
        chi_ppb=float(rng.uniform(-CHI_PPB, CHI_PPB)),
        lesions=new_lesions(head, [one / 2 for one in NEW_MM], rng),
    )
    return Person(replace(planned, parameters=parameters), later)


def make(out: Path, number: int, seed: int, options: list[str]) -> None:
    """Simulate the visits of one person, and run the app on them."""
    person = plan(number, seed)
    folder = out / f"{person.planned.label}"
    for visit in range(VISITS):
        made = simulate.participant(
            person.planned.parameters,
            person.planned.seed,
            visit=visit,
            progression=person.later if visit == VISITS - 1 else NO_PROGRESSION,
        )
        name = f"sub-{person.planned.label}_ses-{visit + 1}"
        simulate.write_participant(folder / "bids", folder / "truth", name, made)
    description = {"Name": "Simulated visits", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    write_json(folder / "bids" / "dataset_description.json", description)
    write_text(folder / "bids" / "README", "Simulated visits of one person.\n")
    subject = f"sub-{person.planned.label}"
    sessions = pd.DataFrame(
        {
            "session_id": [f"ses-{visit + 1}" for visit in range(VISITS)],
            "acq_time": [f"{2020 + visit}-03-01T10:00:00" for visit in range(VISITS)],
        }
    )
    write_tsv(folder / "bids" / subject / f"{subject}_sessions.tsv", sessions)
    write_json(folder / "truth" / "new_lesions.json", {"balls": person.later.lesions})
    run(folder, options)


def run(folder: Path, options: list[str]) -> None:
    """Run the app on the visits of one person."""
    command = [sys.executable, "-m", "bids_qsmthal", folder / "bids", folder / "derivatives"]
    command += ["participant", *OPTIONS, *options]
    subprocess.run([*map(str, command)], check=True)


def truth_of(folder: Path, subject: str, visit: int) -> dict[str, object]:
    """Return the true numbers of a visit."""
    path = folder / "truth" / subject / f"ses-{visit}" / "truth.json"
    numbers: dict[str, object] = json.loads(path.read_text())
    return numbers


def value_of(numbers: dict, name: str) -> float:
    """Return a true number of a visit: ppb or mm3."""
    where = numbers[name]["LR"] if name == "chi_relative_csf" else numbers["volume_mm3"][name]
    return float(where)


def measures_of(folder: Path, subject: str, visit: int) -> pd.Series:
    """Return the numbers of a single run by measure, region and hemisphere."""
    name = f"{subject}_ses-{visit}"
    path = folder / "derivatives" / subject / f"ses-{visit}" / "anat"
    table = pd.read_csv(path / f"{name}_desc-qsmthal_measures.tsv", sep="\t", keep_default_na=False)
    table["value"] = pd.to_numeric(table["value"], errors="coerce")
    return table.drop_duplicates(["measure", "region", "hemisphere"]).set_index(
        ["measure", "region", "hemisphere"]
    )["value"]


def rows(folder: Path) -> list[dict[str, object]]:
    """Return one row for each pair of visits and measure of a person."""
    subject = f"sub-{folder.name}"
    anat = folder / "derivatives" / subject / "anat"
    table = pd.read_csv(
        anat / f"{subject}_desc-qsmthal_change.tsv", sep="\t", keep_default_na=False
    )
    table = table[table["variant"].isin(["n/a", "default"])]
    for column in ("value", "change", "change_se"):
        table[column] = pd.to_numeric(table[column], errors="coerce")
    keys = ["session_from", "session_to", "measure", "region", "hemisphere"]
    changes = table.set_index(keys)
    numbers = [truth_of(folder, subject, visit + 1) for visit in range(VISITS)]
    single = [measures_of(folder, subject, visit + 1) for visit in range(VISITS)]
    found: list[dict[str, object]] = []
    for first, second in combinations(range(VISITS), 2):
        for measure, name in MEASURES.items():
            row = changes.loc[(f"ses-{first + 1}", f"ses-{second + 1}", *measure)]
            before, after = value_of(numbers[first], name), value_of(numbers[second], name)
            ppb = measure[0] == "chi_relative_csf"
            # Volumes in per cent of the mean of both visits.
            unit = 1.0 if ppb else 100 / float(row["value"])
            two = single[second].get(measure, np.nan) - single[first].get(measure, np.nan)
            middle = (single[second].get(measure, np.nan) + single[first].get(measure, np.nan)) / 2
            errors = [one.get((f"{measure[0]}_se", *measure[1:]), np.nan) for one in single]
            found.append(
                {
                    "person": folder.name,
                    "changed": second == VISITS - 1,
                    "measure": " ".join(measure[:2]),
                    "true": (after - before) * (1 if ppb else 200 / (after + before)),
                    "change": unit * row["change"],
                    "se": unit * row["change_se"],
                    "single": two * (1 if ppb else 100 / middle),
                    "single_se": float(np.hypot(errors[first], errors[second])),
                }
            )
    return found


def lesion_rows(folder: Path) -> list[dict[str, object]]:
    """Return the true new lesions of a person, found or not, and the false proposals."""
    subject = f"sub-{folder.name}"
    balls: list[Ball] = [
        tuple(one) for one in json.loads((folder / "truth/new_lesions.json").read_text())["balls"]
    ]
    found: list[dict[str, object]] = []
    for visit in range(2, VISITS + 1):
        name = f"{subject}_ses-{visit}"
        path = folder / "derivatives" / subject / f"ses-{visit}" / "anat"
        image = nifti.load(path / f"{name}_space-T1w_desc-lesionchange_dseg.nii.gz")
        proposed = image.like(components(image.data == LesionChange.NEW)[0])
        numbers = truth_of(folder, subject, visit)
        to_world = np.array(numbers["rigid_head_to_world"]["t1w"])
        here = balls if visit == VISITS else []
        found += judged(proposed, to_world, here, {"person": folder.name, "visit": visit})
    return found


def judged(
    proposed: Image, to_world: np.ndarray, balls: list[Ball], row: dict[str, object]
) -> list[dict[str, object]]:
    """Return a row for each true new lesion and for each proposal that is none."""
    places = np.argwhere(proposed.data > 0)
    numbers = proposed.data[tuple(places.T)]
    world = apply(proposed.affine, places)
    found: list[dict[str, object]] = []
    hits: set[int] = set()
    for x, y, z, radius_mm in balls:
        centre = apply(to_world, np.array([[x, y, z]]))[0]
        near = np.linalg.norm(world - centre, axis=1) <= radius_mm + NEAR_MM
        hits |= set(numbers[near].tolist())
        found.append(row | {"true": True, "diameter_mm": 2 * radius_mm, "found": near.any()})
    for number in set(numbers.tolist()) - hits:
        mm3 = float((numbers == number).sum() * proposed.voxel_volume_mm3)
        diameter_mm = 2 * (3 * mm3 / (4 * np.pi)) ** (1 / 3)
        found.append(row | {"true": False, "diameter_mm": diameter_mm, "found": True})
    return found


def show(table: pd.DataFrame, lesions: pd.DataFrame) -> None:
    """Print errors, slopes, coverage and lesions."""
    for name in ("change", "single"):
        table[f"{name}_error"] = table[name] - table["true"]
    table["held"] = table["change_error"].abs() <= 1.96 * table["se"]
    table["se_ratio"] = table["single_se"] / table["se"]

    def rms(values: pd.Series) -> float:
        return float(np.sqrt(np.mean(np.square(values.dropna()))))

    summary = table.groupby(["changed", "measure"], sort=False).agg(
        n=("true", "size"),
        mean_true=("true", "mean"),
        mean_error=("change_error", "mean"),
        rms=("change_error", rms),
        rms_of_single_runs=("single_error", rms),
        mean_se=("se", "mean"),
        se_of_single_over_change=("se_ratio", "mean"),
        held=("held", "mean"),
    )
    print(summary.round(3).to_string())
    for measure, part in table.groupby("measure", sort=False):
        slope = float((part["change"] * part["true"]).sum() / (part["true"] ** 2).sum())
        print(f"slope {measure}: {slope:.3f} (through zero, {len(part)} pairs)")
    new = lesions[lesions["true"]]
    sizes = new.groupby("diameter_mm")["found"].agg(["sum", "size"])
    print("new lesions found, by diameter in mm:")
    print(sizes.T.to_string())
    for least in (3, 4):
        part = new[new["diameter_mm"] >= least]
        print(f"from {least} mm: {part['found'].mean():.3f} of {len(part)}")
    pairs = lesions_pairs(lesions, table)
    print("false proposals of each pair:", pairs)
    false = lesions[~lesions["true"].astype(bool)]
    print("their diameters, mm:", false["diameter_mm"].round(1).tolist())


def lesions_pairs(lesions: pd.DataFrame, table: pd.DataFrame) -> dict[str, list[int]]:
    """Return the numbers of false proposals of each person, by pair of visits."""
    false = lesions[~lesions["true"].astype(bool)]
    return {
        f"{visit - 1} to {visit}": [
            int(((false["person"] == person) & (false["visit"] == visit)).sum())
            for person in sorted(set(table["person"]))
        ]
        for visit in range(2, VISITS + 1)
    }


def main() -> None:
    """Read the words."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("what", choices=("make", "run", "score"))
    words.add_argument("out", type=Path)
    words.add_argument("--people", type=int, default=4)
    words.add_argument("--first", type=int, default=0)
    words.add_argument("--seed", type=int, default=61)
    chosen, options = words.parse_known_args()
    if chosen.what == "make":
        for number in range(chosen.first, chosen.first + chosen.people):
            make(chosen.out, number, chosen.seed, options)
    folders = sorted(path for path in chosen.out.iterdir() if path.is_dir())
    if chosen.what == "run":
        for folder in folders:
            run(folder, options)
    folders = [one for one in folders if list(one.glob("derivatives/sub-*/anat/*_change.tsv"))]
    table = pd.DataFrame([row for folder in folders for row in rows(folder)])
    lesions = pd.DataFrame([row for folder in folders for row in lesion_rows(folder)])
    write_tsv(chosen.out / "visits.tsv", table)
    write_tsv(chosen.out / "new_lesions.tsv", lesions)
    show(table, lesions)


if __name__ == "__main__":
    main()
