"""Real heads, segmented by others: how near anatomy, lesions and the number come to the truth.

python benchmarks/heads.py images LABELS OUT [--heads NAME ...] [--seed N]
python benchmarks/heads.py whole LABELS OUT [--heads NAME ...] [--seed N] [APP OPTIONS]
python benchmarks/heads.py bars TABLE ...

LABELS is a folder of label maps (``bids_qsmthal simulate --labels``), such as SynthSeg's training
heads (doi 10.1016/j.media.2023.102789). Heads take three protocols, FLAIR slices of 1, 3 and 5 mm
and 0 to 40 mL of lesions in turn, each from its own seed; atrophy is what they have. ``images``
makes T1w, post-contrast T1w and FLAIR and measures them as the app does; ``whole`` makes all scans
and runs the app (``--protocol NAME``: one for all heads). Both write a row a head to OUT
(``images.tsv``, ``whole.tsv``) as soon as it is known and then print the bars: means over heads,
and the worst head. ``bars`` prints them again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from anatomy import dice, percent
from cohort import MEASURES, compared
from lesions import ENHANCING_RADIUS_MM, each, score
from scipy import ndimage

from bids_qsmthal import anatomy, lesions, simulate
from bids_qsmthal.anatomy.thickness import Thickness, mean_thickness_mm, thickness_map
from bids_qsmthal.core import nifti
from bids_qsmthal.core.affine import voxel_sizes_mm
from bids_qsmthal.core.files import write_tsv
from bids_qsmthal.core.image import Image, resample
from bids_qsmthal.core.labels import MIDBRAIN, PARTS, SIDES, TABLE, Region, TissueClass, parsed
from bids_qsmthal.participant.structural import lesion_context
from bids_qsmthal.simulate import label_maps
from bids_qsmthal.simulate.compositions import labels_of
from bids_qsmthal.simulate.labelled import SOFT_MM, placed

LESION_ML = (0.0, 3.0, 8.0, 16.0, 40.0)
FLAIR_MM = (1, 3, 5)
CHI_PPB = (-45.0, 10.0)
ENHANCING = 3
SCENARIOS = ("plain", "flow", "eight-channel")
"""Of the gradient echo, in turn."""

THALAMI = ((10, 1), (49, 2))
"""Our number and the truth's."""

NUCLEI = ("putamen", "caudate", "pallidum", "accumbens")
DEEP = (*NUCLEI, *PARTS, *MIDBRAIN)

VENTRICLES = (4, 43, 5, 44)
GRAY = 2
"""The true tissue map has 1 fluid, 2 gray and 3 white matter; the app's numbers are BIDS's."""


class Bar(NamedTuple):
    """A figure: column, how heads are joined, what it may be, and whether less is better."""

    column: str
    joined: str
    limit: float
    most: bool = True


BARS = (
    Bar("chi_error_ppb", "mean absolute", 1.0),
    Bar("chi_error_ppb", "slope", 0.04),
    Bar("thalamus_dice", "mean", 0.93, most=False),
    Bar("thalamus_%", "mean absolute", 3.0),
    Bar("thalamus_%", "mean", 1.5),
    Bar("putamen_%", "mean absolute", 8.0),
    Bar("putamen_dice", "mean", 0.85, most=False),
    Bar("caudate_%", "mean absolute", 8.0),
    Bar("caudate_dice", "mean", 0.85, most=False),
    Bar("pallidum_%", "mean absolute", 12.0),
    Bar("pallidum_dice", "mean", 0.80, most=False),
    Bar("accumbens_%", "mean absolute", 12.0),
    Bar("accumbens_dice", "mean", 0.80, most=False),
    *(Bar(f"{nucleus} error_ppb", "mean absolute", 4.0) for nucleus in DEEP),
    Bar("gray_matter_%", "mean absolute", 2.5),
    Bar("ventricles_%", "mean absolute", 4.0),
    Bar("brain_dice", "mean", 0.965, most=False),
    Bar("intracranial_%", "mean absolute", 3.0),
    Bar("thickness_error_mm", "mean absolute", 0.15),
    Bar("lesion_dice_1_mm", "mean", 0.88, most=False),
    Bar("lesion_dice_3_mm", "mean", 0.82, most=False),
    Bar("lesion_dice_5_mm", "mean", 0.72, most=False),
    Bar("lesion_%", "mean absolute", 15.0),
    Bar("lesion_%", "mean", 5.0),
    Bar("false_lesion_ml", "worst", 0.1),
    Bar("enhancing_missed", "mean", 0.05),
    Bar("enhancing_false", "mean", 0.05),
)


class Head(NamedTuple):
    """One label map, and the person that is simulated in it."""

    path: Path
    person: simulate.Planned
    scenario: str

    @property
    def given(self) -> simulate.Given:
        """The anatomy."""
        return simulate.GivenFiles(labels=(self.path,)).of(0)


def plan(
    folder: Path, seed: int, wanted: list[str] | None, protocol: str | None = None
) -> list[Head]:
    """Plan a participant in each head; which of them are wanted changes none."""
    paths = sorted(path for path in folder.iterdir() if path.name.endswith((".nii.gz", ".mgz")))
    protocols = list(simulate.PROTOCOLS.values())
    if protocol is not None:
        protocols = [simulate.PROTOCOLS[protocol]] * len(protocols)
    chi = np.random.default_rng(seed).permutation(np.linspace(*CHI_PPB, len(paths)))
    heads = []
    for order, (path, drawn) in enumerate(
        zip(paths, simulate.draw_cohort(len(paths), seed), strict=True)
    ):
        load = LESION_ML[order % len(LESION_ML)]
        parameters = replace(
            drawn.parameters,
            protocol=protocols[order % len(protocols)],
            thalamus_chi_ppb=float(chi[order]),
            lesion_ml=load,
            enhancing=ENHANCING if load else 0,
            enhancing_radius_mm=ENHANCING_RADIUS_MM,
            # Not in step with the protocols: each slice thickness meets each of them.
            flair_thickness=FLAIR_MM[(order + order // 3) % len(FLAIR_MM)],
        )
        scenario = SCENARIOS[order % len(SCENARIOS)] if order >= len(protocols) else "plain"
        heads.append(Head(path, replace(drawn, parameters=parameters), scenario))
    return [head for head in heads if wanted is None or _name(head.path) in wanted]


def _name(path: Path) -> str:
    return path.name.split(".")[0]


def images(head: Head) -> dict[str, object]:
    """Simulate the structural scans of one head, measure them, and return the errors."""
    made = simulate.head_scans(head.person.parameters, head.person.seed, head.given)
    t1w, ce_t1w, flair = (scan.image for scan in made.scans)
    prepared = anatomy.prepare(t1w)
    context = lesion_context(prepared)
    matrices = [
        anatomy.rigid_brains(prepared.t1w, image, prepared.brain).matrix
        for image in (flair, ce_t1w)
    ]
    found = lesions.segment_flair(flair, prepared.t1w, context, flair_to_t1w=matrices[0])
    enhanced = lesions.find_enhancing(prepared.t1w, ce_t1w, found, context, ce_to_t1w=matrices[1])
    segmented = anatomy.segment(prepared, found.mask)
    return {
        "head": _name(head.path),
        "flair_mm": head.person.parameters.flair_thickness,
        **_anatomy_errors(segmented, made.truth),
        **_nuclei_errors(segmented, head.path, made.truth),
        "thickness_error_mm": segmented.thickness_mean_mm["whole"] - true_thickness_mm(head.path),
        **_lesion_errors(found, enhanced.mask, made.truth, head.person.parameters),
    }


def _anatomy_errors(found: anatomy.Anatomy, truth: simulate.Truth) -> dict[str, float]:
    tissue, deep = (
        truth.images[f"space-T1w_{name}"].data for name in ("dseg", "desc-deepgray_dseg")
    )
    ventricle = truth.images["space-T1w_label-ventricle_mask"].data > 0
    true = truth.numbers["volume_mm3"]
    overlap = [dice(found.deepgray.data == ours, deep == theirs) for ours, theirs in THALAMI]
    thalami = sum(found.volumes_mm3[f"thalamus_{side}"] for side in "LR")
    voxel_mm3 = found.brain.voxel_volume_mm3
    ours = np.isin(found.deepgray.data, VENTRICLES).sum() * voxel_mm3
    # Gray and white matter and ventricles on both sides. The app's brain mask holds the fluid round
    # the brain as well: it is compared with what lies inside the skull.
    brain = _filled((tissue >= GRAY) | ventricle)
    our_brain = _filled(
        np.isin(found.tissue.data, (TissueClass.GRAY, TissueClass.WHITE))
        | (found.ventricles.data > 0)
    )
    return {
        "brain_dice": dice(our_brain, brain),
        "brain_%": percent(our_brain.sum(), brain.sum()),
        "mask_dice": dice(found.brain.data > 0, tissue > 0),
        "thalamus_dice": float(np.mean(overlap)),
        "thalamus_%": percent(thalami, true["thalamus_LR"]),
        "gray_matter_%": percent(found.volumes_mm3["gray_matter"], true["gray_matter"]),
        "white_matter_%": percent(found.volumes_mm3["white_matter"], true["white_matter"]),
        "ventricles_%": percent(ours, true["ventricle_lateral"]),
        "intracranial_%": percent(found.volumes_mm3["intracranial"], true["intracranial"]),
    }


def _nuclei_errors(found: anatomy.Anatomy, path: Path, truth: simulate.Truth) -> dict[str, float]:
    """Return Dice (mean of both sides) and volume against the label map itself."""
    head = label_maps.read(path)
    to_t1w = np.array(truth.numbers["rigid_head_to_world"]["t1w"])
    world = np.linalg.inv(to_t1w @ placed(head.labels, path).to_head)
    labels = head.labels.like(head.labels.data.astype(np.int16))
    true = resample(labels, found.deepgray, world=world, order=0).data
    errors = {}
    for name in NUCLEI:
        pair = TABLE.pair(name)
        sides = [(found.deepgray.data == index, true == index) for index in pair]
        errors[f"{name}_dice"] = float(np.mean([dice(*side) for side in sides]))
        errors[f"{name}_%"] = float(
            # Absolute for each side: what one has too much must not make up for the other.
            np.mean([abs(percent(ours.sum(), theirs.sum())) for ours, theirs in sides])
        )
    return errors


def true_thickness_mm(path: Path) -> float:
    """Return the mean thickness of the labelled cortex, between the borders that are simulated.

    The distances are the app's own (``tests/anatomy/test_thickness.py`` holds them against cortices
    of known thickness): what differs from the app's figure is where the borders were found. The
    nearest point of a pial mesh would not do, for in labels of 1 mm the banks of a sulcus touch.
    """
    head = label_maps.read(path)
    inside = np.where(head.brain, head.labels.data, 0)
    cortex = np.isin(inside, TABLE.pair("cerebral_cortex"))
    # The whole cerebrum inside its cortex; cerebellum, brainstem and free fluid are outside of it.
    outer = (*TABLE.pair("cerebellar_cortex"), *TABLE.pair("cerebellar_white_matter"))
    outer += (TABLE.index("brainstem"), TABLE.index("fourth_ventricle"), TABLE.index("csf"))
    enclosed = head.brain & (inside > 0) & ~cortex & ~np.isin(inside, outer)
    gray, white = (
        ndimage.gaussian_filter(mask.astype(np.float32), SOFT_MM) for mask in (cortex, enclosed)
    )
    x, y, z = voxel_sizes_mm(head.labels.affine).tolist()
    thickness = thickness_map(gray, white, cortex, (x, y, z), Thickness())
    return mean_thickness_mm(thickness, gray, cortex)


def _filled(mask: np.ndarray) -> np.ndarray:
    """Return the largest part of a mask without its holes."""
    parts, _ = ndimage.label(ndimage.binary_fill_holes(mask))
    return np.asarray(parts == np.bincount(parts.ravel())[1:].argmax() + 1)


def _lesion_errors(
    found: lesions.Lesions, enhanced: Image, truth: simulate.Truth, person: simulate.Parameters
) -> dict[str, float]:
    """Return errors of lesions; NaN for what the head has no part in."""
    true, active = (
        truth.images[f"space-T1w_label-{name}_mask"].data > 0 for name in ("lesion", "enhancing")
    )
    row = score(found.mask.data > 0, true, found.mask.voxel_volume_mm3)
    some = row["true_ml"] >= LESION_ML[1] / 2
    parts = each(enhanced.data > 0, active, enhanced)
    # A table without rows has no types: then nothing could be told apart.
    is_true, is_found = (parts[name].astype(bool) for name in ("true", "found"))
    large = parts["diameter_mm"].astype(float) >= 5
    result = {
        "true_ml": row["true_ml"],
        # The volume that is reported; of its mask beside it.
        "lesion_%": percent(found.corrected_mm3 / 1000, row["true_ml"]) if some else np.nan,
        "lesion_mask_%": percent(row["found_ml"], row["true_ml"]) if some else np.nan,
        "false_lesion_ml": np.nan if true.any() else row["found_ml"],
        # NaN where no true one is as large.
        "enhancing_missed": float((~is_found[large & is_true]).mean()),
        "enhancing_false": float((large & ~is_true).sum()),
    }
    for thickness in FLAIR_MM:
        here = some and person.flair_thickness == thickness
        result[f"lesion_dice_{thickness}_mm"] = row["dice"] if here else np.nan
    return result


def whole(head: Head, out: Path, options: list[str]) -> dict[str, object]:
    """Simulate all scans of one head, run the app on them, and return the errors."""
    folder = out / _name(head.path)
    simulate.write_dataset(
        folder / "bids",
        [head.person],
        simulate.SCENARIOS[head.scenario],
        simulate.GivenFiles(labels=(head.path,)),
    )
    command = [sys.executable, "-m", "bids_qsmthal", folder / "bids", folder / "derivatives"]
    subprocess.run([*map(str, command), "participant", *options], check=True)
    row: dict[str, object] = {
        "head": _name(head.path),
        "protocol": head.person.parameters.protocol.name,
        "scenario": head.scenario,
        "flair_mm": head.person.parameters.flair_thickness,
    }
    for measure in MEASURES:
        table = compared(measure, folder / "truth", folder / "derivatives").iloc[0]
        name = f"{measure[0]} {measure[1]} {measure[2]}"
        row |= {f"{name} true": table["truth"], f"{name} found": table["estimate"]}
        if measure[:3] == ("chi_relative_csf", "thalamus", "LR"):
            row["chi_true_ppb"] = table["truth"]
            row["chi_error_ppb"] = table["estimate"] - table["truth"]
            row["covered"] = float(table["low"] <= table["truth"] <= table["high"])
        elif table["truth"] > 0 and measure[0] == "volume":
            row[f"{measure[1]}_%"] = percent(table["estimate"], table["truth"])
    for truth in (folder / "truth").glob("sub-*"):
        row |= nuclei_of_run(truth, folder / "derivatives" / truth.name / "anat")
    return row


def nuclei_of_run(truth: Path, found: Path) -> dict[str, float]:
    """Return errors of each deep nucleus: ppb (both sides) with its SE, volume in % and Dice.

    NaN where the app measured none. Dice is of voxels of T1w, each side for itself; truth of a
    volume is the sum of fractions.
    """
    name = truth.name
    numbers = json.loads((truth / "truth.json").read_text())
    true_chi, true_mm3 = numbers["roi_chi_relative_csf"], numbers["volume_mm3"]
    table = pd.read_csv(
        found / f"{name}_desc-qsmthal_measures.tsv", sep="\t", keep_default_na=False
    )
    values = pd.to_numeric(
        table.set_index(["measure", "region", "hemisphere"])["value"], errors="coerce"
    )
    true = nifti.load(truth / f"{name}_space-T1w_desc-deepgray_dseg.nii.gz").data
    row = {}
    for nucleus in DEEP:
        value, error = (
            values.get((measure, nucleus, "LR"), np.nan)
            for measure in ("chi_relative_csf", "chi_relative_csf_se")
        )
        row[f"{nucleus} true_ppb"] = true_chi[nucleus]
        row[f"{nucleus} error_ppb"] = value - true_chi[nucleus]
        row[f"{nucleus} se_ppb"] = error
        masks = [(ours_of(nucleus, side, found, name), side) for side in SIDES]
        row[f"{nucleus} dice"] = float(
            np.mean([dice(ours, np.isin(true, labels_of(nucleus, (s,)))) for ours, s in masks])
        )
        row[f"{nucleus} %"] = float(
            np.mean([abs(percent(m.sum(), true_mm3[f"{nucleus}_{s}"])) for m, s in masks])
        )
    return row


def ours_of(nucleus: str, side: str, found: Path, name: str) -> np.ndarray:
    """Return the app's label of a nucleus on T1w (1 mm): its numbers, or its table of names."""
    if nucleus in NUCLEI:
        index = dict(zip(SIDES, TABLE.pair(nucleus), strict=True))[side]
        return nifti.load(found / f"{name}_space-T1w_desc-deepgray_dseg.nii.gz").data == index
    stem = found / f"{name}_space-T1w_desc-smallnuclei_dseg"
    names = pd.read_csv(f"{stem}.tsv", sep="\t").set_index("index")["name"]
    own = [index for index, text in names.items() if parsed(text) == Region(nucleus, side)]
    return np.isin(nifti.load(Path(f"{stem}.nii.gz")).data, own)


def joined(table: pd.DataFrame, bar: Bar) -> float:
    """Return one figure over heads; NaN where fewer than needed have it."""
    values = table[bar.column].dropna().astype(float) if bar.column in table else pd.Series([])
    if bar.joined == "slope":
        true = table.loc[values.index, "chi_true_ppb"] if len(values) > 2 else None
        return float("nan") if true is None else float(np.polyfit(true, values, 1)[0])
    if values.empty:
        return float("nan")
    kinds = {"mean": values.mean, "mean absolute": values.abs().mean, "worst": values.abs().max}
    return float(kinds[bar.joined]())


def show(table: pd.DataFrame) -> None:
    """Print every bar: the figure, its limit, whether it is met, and the worst head."""
    for bar in BARS:
        value = joined(table, bar)
        if np.isnan(value):
            continue
        met = abs(value) <= bar.limit if bar.most else value >= bar.limit
        heads = table.set_index("head")[bar.column].dropna().astype(float)
        worst = heads.abs().idxmax() if bar.most else heads.idxmin()
        print(
            f"{bar.column:18} {bar.joined:14} {value:8.3f} (bar {bar.limit:g}, "
            f"{'met' if met else 'NOT met'}; {len(heads)} heads, worst {worst}: "
            f"{heads[worst]:.3f})"
        )


def main() -> None:
    """Read the words."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("what", choices=("images", "whole", "bars"))
    words.add_argument("paths", type=Path, nargs="+")
    words.add_argument("--heads", nargs="+", help="names without endings; all by default")
    words.add_argument("--seed", type=int, default=31)
    words.add_argument("--protocol", choices=sorted(simulate.PROTOCOLS))
    chosen, options = words.parse_known_args()
    if chosen.what == "bars":
        show(pd.concat([pd.read_csv(path, sep="\t") for path in chosen.paths]))
        return
    folder, out = chosen.paths
    rows = []
    for head in plan(folder, chosen.seed, chosen.heads, chosen.protocol):
        row = images(head) if chosen.what == "images" else whole(head, out, options)
        print(" ".join(f"{name} {value}" for name, value in row.items()), flush=True)
        rows.append(row)
        write_tsv(out / f"{chosen.what}.tsv", pd.DataFrame(rows))
    show(pd.DataFrame(rows))


if __name__ == "__main__":
    main()
