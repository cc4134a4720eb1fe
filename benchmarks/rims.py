"""How well rims of lesions are told, over voxel sizes and masks of lesions.

``python benchmarks/rims.py OUT.tsv [--blocks N] [--seed S] [--voxel SIZE] [--fit]``

Blocks of white matter with some 25 lesions each (``simulate.rims``): field, noise, the default
inversion, then the score of each lesion, in its true mask and in one whose border is off by 0.5 mm
(SD, smooth over 2 mm) and that is moved by 0.3 mm (SD along each axis). Rows go to OUT.tsv; the
areas under the curves, for lesions that are large enough, are printed. ``--fit`` prints the weights
of the logistic model: fit on some seeds, look at the areas on others.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.core.grid import Array
from bids_qsmthal.qsm.inversion import Medi
from bids_qsmthal.qsm.measurement import Measurement
from bids_qsmthal.roi.lesion_iron import LesionImages, lesion_iron
from bids_qsmthal.roi.morphology import signed_depth_mm
from bids_qsmthal.roi.rim_field import unexplained_ppb
from bids_qsmthal.roi.rims import RimRule, compressed
from bids_qsmthal.simulate.rims import LesionBlock, LesionKind, draw_block

VOXELS = {"1": (1.0, 1.0, 1.0), "1.5x1.5x2": (1.5, 1.5, 2.0), ".75x.75x3": (0.75, 0.75, 3.0)}
NOISE_PPB = (1.0, 3.0)
RULE = RimRule()
ASKED = (
    *("rim_surrounded_ppb", "rim_closed", "rim_evidence"),
    *("rim_visible_ppb", "rim_probability"),
)
"""Columns of the table of lesions."""


def reconstructed(
    voxel_size_mm: tuple[float, float, float], generator: np.random.Generator
) -> tuple[LesionBlock, float, Array]:
    """Return a block, its noise, and the susceptibility that the default inversion makes (ppb)."""
    noise_ppb = float(generator.uniform(*NOISE_PPB))
    block = draw_block(voxel_size_mm, generator, noise_ppb=noise_ppb)
    # T2* weighted: lesions and fluid are brighter, veins darker.
    magnitude = 1 + 0.15 * block.share + 0.5 * block.fluid
    magnitude = magnitude - 0.6 * np.clip(block.chi_ppm - 0.06, 0, 0.4)
    magnitude = magnitude + generator.normal(0, 0.02, magnitude.shape)
    noise = np.full(block.grid.shape, noise_ppb / 1e3, np.float32)
    seen = np.where(block.inside, magnitude, 0).astype(np.float32)
    local = Measurement(block.field_ppm, noise, seen, block.inside, block.fluid)
    return block, noise_ppb, 1e3 * Medi()(local, block.grid).chi_ppm


def misplaced(block: LesionBlock, generator: np.random.Generator) -> NDArray[np.int32]:
    """Return the labels of a reader who errs by half a millimetre."""
    size_mm = block.grid.voxel_size_mm
    noise = generator.standard_normal(block.grid.shape)
    smooth = ndimage.gaussian_filter(noise, [2 / size for size in size_mm])
    depth = signed_depth_mm(block.labels > 0, size_mm) + 0.5 * smooth / smooth.std()
    moved = ndimage.shift(depth, generator.normal(0, 0.3, 3) / size_mm, order=1)
    nearest = ndimage.distance_transform_edt(
        block.labels == 0, size_mm, return_distances=False, return_indices=True
    )
    return np.where(moved > 0, block.labels[tuple(nearest)], 0).astype(np.int32)


def rows(
    block: LesionBlock, noise_ppb: float, chi_ppb: Array, labels: NDArray[np.int32]
) -> list[dict[str, float | bool]]:
    """Return one row per lesion that is large enough to be asked."""
    size_mm = block.grid.voxel_size_mm
    tissue = block.inside & (labels == 0) & ~ndimage.binary_dilation(block.fluid)
    images = LesionImages(
        labels=labels,
        chi_ppb=chi_ppb,
        usable=block.inside,
        veins=np.zeros(labels.shape, np.bool_),
        white=tissue,
        reference=block.fluid,
        voxel_size_mm=size_mm,
        unexplained_ppb=unexplained_ppb(chi_ppb, 1e3 * block.field_ppm, block.inside, block.grid),
        noise_ppb=np.full(labels.shape, noise_ppb, np.float32),
        b0_direction=block.grid.b0_direction,
    )
    made: list[dict[str, float | bool]] = []
    for row in lesion_iron(images, rule=RULE).dropna(subset="rim_probability").to_dict("records"):
        lesion = block.lesions[row["id"] - 1]
        truth = {"rim": lesion.kind is LesionKind.RIM, "strength_ppb": lesion.strength_ppb}
        own = {"radius_mm": lesion.radius_mm, "kind": int(lesion.kind)}
        volume_mm3 = float(np.sum(labels == row["id"]) * np.prod(size_mm))
        found = {"diameter_mm": (6 * volume_mm3 / np.pi) ** (1 / 3)}
        made.append(truth | own | found | {key: row[key] for key in ASKED})
    return made


def areas(rim: NDArray[np.bool_], score: NDArray[np.float64]) -> tuple[float, float]:
    """Return the areas under the ROC and the precision-recall curve."""
    ranks = pd.Series(score).rank().to_numpy()
    number = int(rim.sum())
    roc = (ranks[rim].sum() - number * (number + 1) / 2) / (number * (rim.size - number))
    found = rim[np.argsort(-score)]
    precision = np.cumsum(found) / np.arange(1, rim.size + 1)
    return float(roc), float(precision[found].mean())


def summary(table: pd.DataFrame) -> None:
    """Print the areas, and lesions that are called wrongly, by voxel size and mask."""
    for key, group in table.groupby(["voxel", "mask"]):
        rim = group["rim"].to_numpy(bool)
        p = group["rim_probability"].to_numpy()
        roc, precision = areas(rim, p)
        called = p >= RULE.threshold
        wrong = (called & ~rim).sum() / group["seed"].nunique()
        print(f"{key}: {len(group)} lesions, {rim.sum()} rims, ROC {roc:.3f}, PR {precision:.3f},")
        print(f"  found {(called & rim).sum() / rim.sum():.2f}, false a block {wrong:.2f}")
        shown = np.isfinite(group["rim_visible_ppb"].to_numpy())
        print("  " + by_visibility(rim, called, shown))


def by_visibility(
    rim: NDArray[np.bool_], called: NDArray[np.bool_], shown: NDArray[np.bool_]
) -> str:
    """Return how many rims are found, among lesions that would show one and among others."""
    parts = []
    for name, chosen in (("would show one", shown), ("would not", ~shown)):
        found = f"{(called & rim & chosen).sum()} of {(rim & chosen).sum()} found"
        parts.append(f"{name}: {found}, {(called & ~rim & chosen).sum()} false of")
        parts[-1] += f" {(~rim & chosen).sum()}"
    return "; ".join(parts)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--blocks", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--voxel", choices=VOXELS, help="one size (default: all)")
    parser.add_argument("--fit", action="store_true")
    options = parser.parse_args()
    made: list[dict[str, object]] = []
    sizes = VOXELS if options.voxel is None else {options.voxel: VOXELS[options.voxel]}
    for voxel, size_mm in sizes.items():
        for seed in range(options.seed, options.seed + options.blocks):
            generator = np.random.default_rng(seed)
            block, noise_ppb, chi_ppb = reconstructed(size_mm, generator)
            for mask, labels in (("true", block.labels), ("off", misplaced(block, generator))):
                where = {"voxel": voxel, "mask": mask, "seed": seed}
                made += [where | row for row in rows(block, noise_ppb, chi_ppb, labels)]
    table = pd.DataFrame(made)
    table.to_csv(options.out, sep="\t", index=False)
    summary(table)
    if options.fit:
        wall = table["rim_surrounded_ppb"].clip(-RULE.most_ppb, RULE.most_ppb)
        evidence = table["rim_evidence"].map(compressed)
        known = sm.add_constant(np.column_stack([wall, table["rim_closed"], evidence]))
        model = sm.GLM(table["rim"].to_numpy(float), known, family=sm.families.Binomial())
        print("weights", model.fit().params.round(4).tolist())


if __name__ == "__main__":
    main()
