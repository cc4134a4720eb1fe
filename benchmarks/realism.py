"""What scanners do to a scan, one effect at a time: error and verdict of the whole app.

``python benchmarks/realism.py FOLDER [--scenarios NAME ...] [--seeds N ...] [--protocol NAME]
[APP OPTIONS]``

Every scenario of ``simulate.SCENARIOS`` becomes a participant of one dataset in FOLDER; those of
one seed are the same person. Only the gradient echo is made. The app gets the true brain and the
true labels: what errs is the way from the signal to the number, and the verdict. Participants that
are there are used again. Printed: truth, error of both thalami together and of either, half of the
95 % interval, the verdict, and the reasons that the app gives.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from bids_qsmthal import qsm, simulate
from bids_qsmthal.core import nifti
from bids_qsmthal.core.image import Image
from bids_qsmthal.simulate.compositions import DEEP_LABELS, FREESURFER
from bids_qsmthal.simulate.dataset import write_participant

TWO_MM = simulate.Protocol(
    name="2mm",
    voxel_size_mm=(2.0, 2.0, 2.0),
    shape=(88, 106, 68),
    oversampling=(2, 2, 2),
    acquisition=qsm.Acquisition(echo_times_s=(0.005, 0.010, 0.015, 0.020), field_strength_t=3.0),
    repetition_time_s=0.03,
    flip_angle_deg=15.0,
)
"""Half of the voxels of ``coarse``: everything in some twenty minutes on two cores."""

PROTOCOLS = {"2mm": TWO_MM, **simulate.PROTOCOLS}

SILENT_PPB = 3.0
"""An error above this, or above the interval, with the verdict ``include`` is a wrong number."""


def person(seed: int, protocol: simulate.Protocol) -> simulate.Parameters:
    """Draw one person; scenarios change how they are scanned."""
    generator = np.random.default_rng(seed)
    return simulate.Parameters(
        protocol=protocol,
        thalamus_chi_ppb=float(generator.uniform(-45, 10)),
        lesion_ml=float(generator.uniform(0, 20)),
        atrophy=float(generator.uniform(0.1, 0.7)),
        scale=float(generator.uniform(0.88, 0.96)),
        oblique_deg=float(generator.uniform(-5, 15)),
    )


def label(name: str, seed: int) -> str:
    """Return a participant's label: letters and digits."""
    return f"{name.replace('-', '').replace('.', '')}x{seed}"


def make(folder: Path, name: str, seed: int, protocol: simulate.Protocol) -> None:
    """Write one participant and its true labels, unless they are there."""
    participant = f"sub-{label(name, seed)}"
    done = folder / "truth" / participant / "truth.json"
    if done.is_file():
        return
    parameters, effects = simulate.SCENARIOS[name].applied(person(seed, protocol))
    made = simulate.gradient_echo_scan(parameters, seed, effects)
    images = made.truth.images
    anat = folder / "labels" / participant / "anat"
    brain = images["space-MEGRE_desc-brain_mask"]
    nifti.save(brain, anat / f"{participant}_space-MEGRE_desc-brain_mask.nii.gz")
    nifti.save(labels(made.truth), anat / f"{participant}_space-MEGRE_desc-deepgray_dseg.nii.gz")
    # Last: the truth says that all is there.
    write_participant(folder / "bids", folder / "truth", participant, made)


def labels(truth: simulate.Truth) -> Image:
    """Return true deep gray matter and lateral ventricles with FreeSurfer's numbers."""
    deep = truth.images["space-MEGRE_desc-deepgray_dseg"]
    found = np.zeros(deep.shape, np.int16)
    for name, index in FREESURFER.items():
        found[deep.data == DEEP_LABELS.index(name) + 1] = index
    ventricle = truth.images["space-MEGRE_label-ventricle_mask"].data > 0
    ventricle |= truth.images["space-MEGRE_label-atria_mask"].data > 0
    left, right = (np.argwhere(found == index).mean(axis=0) for index in (10, 49))
    offset = np.indices(deep.shape, dtype=np.float32)
    offset -= ((left + right) / 2).astype(np.float32)[:, None, None, None]
    on_right = np.tensordot(right - left, offset, axes=1) > 0
    free = ventricle & (found == 0)
    found[free] = np.where(on_right, 43, 4)[free]
    return Image(found, deep.affine)


def describe(folder: Path) -> None:
    """Write the descriptions of both datasets."""
    for name, kind in (("bids", "raw"), ("labels", "derivative")):
        text = {"Name": name, "BIDSVersion": "1.10.0", "DatasetType": kind}
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "dataset_description.json").write_text(json.dumps(text))


def row(folder: Path, name: str, seed: int) -> dict[str, object]:
    """Return what came of one scan."""
    participant = f"sub-{label(name, seed)}"
    true = json.loads((folder / "truth" / participant / "truth.json").read_text())
    anat = folder / "derivatives" / participant / "anat"
    found: dict[str, object] = {"scenario": name, "seed": seed, "verdict": "refused"}
    tables = sorted(anat.glob("*_desc-qsmthal_measures.tsv"))
    if not tables:
        return found | {"reasons": refusal(folder, participant)}
    table = pd.read_csv(tables[0], sep="\t", keep_default_na=False)
    values = table[table["region"] == "thalamus"].set_index(["measure", "hemisphere"])["value"]
    for side in ("LR", "L", "R"):
        value = float(values.get(("chi_relative_csf", side), np.nan))
        found[f"error {side}"] = value - true["chi_relative_csf"][side]
    low, high = (
        float(values.get((f"chi_relative_csf_ci_{end}", "LR"), np.nan)) for end in ("low", "high")
    )
    found |= {"truth": true["chi_relative_csf"]["LR"], "half interval": (high - low) / 2}
    found["verdict"] = table["qc"].iloc[0]
    checks = pd.read_csv(next(anat.glob("*_desc-qsmthal_quality.tsv")), sep="\t")
    doubtful = checks[checks["verdict"].isin(["check", "exclude"])]
    found["reasons"] = "; ".join(doubtful["reason"].fillna(doubtful["name"]))
    return found


def refusal(folder: Path, participant: str) -> str:
    """Return the line with which the app refused a participant."""
    path = folder / "derivatives" / "logs" / "failures.json"
    failures = json.loads(path.read_text()) if path.is_file() else {}
    return str(failures.get(participant, "not run"))


def silent(table: pd.DataFrame) -> pd.Series:
    """Return which numbers are wrong without a word."""
    error = table["error LR"].abs()
    wrong = (error > SILENT_PPB) | (error > table["half interval"])
    return wrong & (table["verdict"] == "include")


def main() -> None:
    """Make, process, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scenarios", nargs="+", default=list(simulate.SCENARIOS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[73])
    parser.add_argument("--protocol", choices=PROTOCOLS, default="2mm")
    parser.add_argument("--tsv", type=Path, help="write the table here, too")
    chosen, options = parser.parse_known_args()
    describe(chosen.folder)
    wanted = [(name, seed) for seed in chosen.seeds for name in chosen.scenarios]
    for name, seed in wanted:
        make(chosen.folder, name, seed, PROTOCOLS[chosen.protocol])
    command = [sys.executable, "-m", "bids_qsmthal", chosen.folder / "bids"]
    command += [chosen.folder / "derivatives", "participant"]
    command += ["--derivatives", f"labels={chosen.folder / 'labels'}"]
    command += ["--participant-label", *(label(name, seed) for name, seed in wanted), *options]
    # Refusals are results here: the status of the app does not end the comparison.
    subprocess.run([str(word) for word in command], check=False)
    table = pd.DataFrame([row(chosen.folder, name, seed) for name, seed in wanted])
    table["silent"] = silent(table)
    if chosen.tsv is not None:
        table.to_csv(chosen.tsv, sep="\t", index=False)
    print(table.round(2).to_markdown(index=False))


if __name__ == "__main__":
    main()
