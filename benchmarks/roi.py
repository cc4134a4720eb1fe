"""Regions of interest on simulated participants: purity of the masks and error of the number.

python benchmarks/roi.py TRUTH_DIR [--shift MM] [--border MM] [--noise PPB]

TRUTH_DIR holds ``sub-*/truth.json`` and the truth images, as ``bids_qsmthal demo`` writes them.
Susceptibility is the truth (plus noise), labels are the truth moved and frayed by the given
amounts, so what is measured is this room alone: no field, no inversion, no segmentation.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from bids_qsmthal import roi
from bids_qsmthal.core import nifti
from bids_qsmthal.core.image import Image
from bids_qsmthal.roi.morphology import signed_depth_mm
from bids_qsmthal.simulate.compositions import DEEP_LABELS, FREESURFER

VENTRICLES = {1: 4, 2: 43}


def main() -> None:
    """Print one line a participant and the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("truth", type=Path)
    parser.add_argument("--shift", type=float, default=0.0, help="registration error, mm")
    parser.add_argument("--border", type=float, default=0.0, help="SD of the label borders, mm")
    parser.add_argument("--noise", type=float, default=0.0, help="SD of the noise, ppb")
    chosen = parser.parse_args()
    lines = []
    for path in sorted(chosen.truth.glob("sub-*/truth.json")):
        scores = score(path.parent, chosen)
        lines.append(scores)
        print(path.parent.name, *(f"{key} {value:.3f}" for key, value in scores.items()))
    for key in lines[0]:
        values = np.array([line[key] for line in lines])
        print(f"mean {key}: {values.mean():.3f} (mean absolute {np.abs(values).mean():.3f})")


def score(folder: Path, chosen: argparse.Namespace) -> dict[str, float]:
    """Measure one participant and compare with the truth."""
    rng = np.random.default_rng(0)
    truth = json.loads((folder / "truth.json").read_text())
    chi = load(folder, "Chimap")
    noisy = chi.like(chi.data + rng.normal(0, 1e-3 * chosen.noise, chi.shape).astype(np.float32))
    inputs = roi.Inputs(
        chi_ppm=noisy,
        magnitude=load(folder, "R2starmap", transform=lambda hz: 100 * np.exp(-0.02 * hz)),
        qsm_mask=load(folder, "space-MEGRE_desc-brain_mask"),
        r2star_hz=load(folder, "R2starmap", transform=lambda hz: noisy_decay(hz, chosen, rng)),
        segmentation=segmentation(folder, truth, chosen, rng),
    )
    start = time.process_time()
    result = roi.measure(inputs)
    spent = time.process_time() - start
    return compared(folder, chi, truth, result) | {"cpu_s": spent}


def noisy_decay(r2star_hz, chosen, rng):  # noqa: ANN001, ANN201
    """Return R2* with noise of 1 /s for 3 ppb, as both have at SNR 60."""
    noise = rng.normal(0, chosen.noise / 3, r2star_hz.shape)
    return np.maximum(r2star_hz + noise * (r2star_hz > 0), 0)


def compared(
    folder: Path, chi: Image, truth: dict[str, dict[str, float]], result: roi.RegionResults
) -> dict[str, float]:
    """Return purity, veins left, tissue lost, and the error of the number."""
    thalamus = load(folder, "space-MEGRE_label-thalamus_mask").data > 0
    vein = load(folder, "space-MEGRE_label-vein_mask").data > 0
    csf = load(folder, "space-MEGRE_label-ventricle_mask").data > 0
    csf |= load(folder, "space-MEGRE_label-atria_mask").data > 0
    final = result.masks["thalamus"].data > 0
    found = result.masks["veins"].data > 0
    reference = result.masks["reference"].data
    near = ndimage.binary_dilation(thalamus) & vein
    inside = vein & thalamus
    value = result.table.set_index(["measure", "region", "hemisphere"])["value"]
    masked = 1e3 * (chi.data[final].mean() - chi.data[reference > 0].mean())
    true = truth["chi_relative_csf"]["LR"]
    kept = result.sensitivity.query("choice == 'veins' and hemisphere == 'LR'")
    return {
        "purity": (final & thalamus).sum() / final.sum(),
        "coverage": (final & thalamus).sum() / thalamus.sum(),
        "vein_left": (final & near).sum() / max(near.sum(), 1),
        "vein_found": (found & inside).sum() / max(inside.sum(), 1),
        "thalamus_lost_to_veins": (found & thalamus & ~vein).sum() / thalamus.sum(),
        "csf_purity": (csf & (reference > 0)).sum() / (reference > 0).sum(),
        "csf_voxels": float((reference > 0).sum()),
        "csf_sides": float(len(set(np.unique(reference)) - {0})),
        "mask_error_ppb": masked - true,
        "error_ppb": value["chi_relative_csf", "thalamus", "LR"] - true,
        "error_veins_kept_ppb": kept["value"].item() - true,
        "standard_error_ppb": value["chi_relative_csf_se", "thalamus", "LR"],
    }


def load(folder: Path, name: str, *, transform=lambda data: data) -> Image:  # noqa: ANN001
    """Read one truth image."""
    image = nifti.load(folder / f"{folder.name}_{name}.nii.gz")
    return image.like(np.asarray(transform(image.data), dtype=np.float32))


def segmentation(
    folder: Path, truth: dict[str, object], chosen: argparse.Namespace, rng: np.random.Generator
) -> roi.Segmentation:
    """Return the true labels, moved and frayed."""
    deep = load(folder, "space-T1w_desc-deepgray_dseg")
    atria = load(folder, "space-T1w_label-atria_mask").data > 0
    ventricles = (load(folder, "space-T1w_label-ventricle_mask").data > 0) | atria
    side = sides(deep)
    labels = np.zeros(deep.shape, dtype=np.int32)
    for name, index in FREESURFER.items():
        labels[deep.data == DEEP_LABELS.index(name) + 1] = index
    for own, index in VENTRICLES.items():
        labels[(labels == 0) & ventricles & (side == own)] = index
    direction = rng.standard_normal(3)
    world = np.array(truth["world_gre_to_t1w"])
    world[:3, 3] += chosen.shift * direction / np.linalg.norm(direction)
    known = roi.Segmentation(
        deepgray=deep.like(labels),
        gre_to_t1w=world,
        atria=deep.like(np.where(atria, side, 0).astype(np.uint8)),
        lesions=load(folder, "space-T1w_label-lesion_mask"),
    )
    return frayed(known, chosen.border, rng) if chosen.border else known


def sides(deep: Image) -> np.ndarray:
    """Return 1 or 2 by the plane between the two thalami."""
    left, right = (np.argwhere(deep.data == own).mean(axis=0) for own in (1, 2))
    across = right - left
    offsets = np.indices(deep.shape, dtype=np.float32) - ((left + right) / 2)[:, None, None, None]
    return np.where(np.tensordot(across, offsets, axes=1) > 0, 2, 1)


def frayed(known: roi.Segmentation, border_mm: float, rng: np.random.Generator) -> roi.Segmentation:
    """Move the borders of thalami and ventricles by smooth noise with this SD."""
    labels = known.deepgray.data.copy()
    size_mm = known.deepgray.grid.voxel_size_mm
    noise = ndimage.gaussian_filter(rng.standard_normal(labels.shape), 3)
    noise *= border_mm / noise.std()
    for index in (10, 49, 4, 43):
        inside = signed_depth_mm(known.deepgray.data == index, size_mm) > noise
        labels[(labels == index) & ~inside] = 0
        labels[inside & (labels == 0)] = index
    kept = signed_depth_mm(np.asarray(known.atria.data) > 0, size_mm) > noise
    atria = np.where(kept, known.atria.data, 0).astype(np.uint8)
    return replace(known, deepgray=known.deepgray.like(labels), atria=known.atria.like(atria))


if __name__ == "__main__":
    main()
