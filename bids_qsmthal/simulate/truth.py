"""What is true of a participant: numbers, and images on the grids of the scans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.core.image import Affine, Image
from bids_qsmthal.core.labels import SIDES
from bids_qsmthal.simulate.compositions import DEEP_LABELS, REGIONS, labels_of
from bids_qsmthal.simulate.signals import block_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bids_qsmthal.simulate.gradient_echo import Fields, FineModel
    from bids_qsmthal.simulate.structural import StructuralTruth

Float = NDArray[np.float32]

VEIN_MASK_FRACTION: Final = 0.3
"""Voxels with more vein than this are vein in the mask; the fractions are written beside."""

NO_VEIN_FRACTION: Final = 0.01
"""Fine voxels with less vein than this are tissue."""


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Truth of one participant.

    Attributes
    ----------
    numbers
        Numbers, nested mappings as written to ``truth.json``.
    images
        File name ending (``space-T1w_dseg``) to image.
    """

    numbers: Mapping[str, object]
    images: Mapping[str, Image]


def gre_images(
    model: FineModel, fields: Fields, affine: Affine, factor: tuple[int, int, int]
) -> dict[str, Image]:
    """Return maps (means over each voxel) and masks (majority) on the gradient-echo grid."""

    def mean(values: NDArray[np.generic]) -> Float:
        return block_mean(values.astype(np.float32, copy=False), factor)

    inside = mean(model.brain)
    brain = inside >= 0.5
    vein = mean(model.vein)
    maps = {
        "Chimap": mean(model.chi_ppm) * brain,
        # Of the part of a voxel that is brain: the skull beside it decays at once.
        "R2starmap": mean(model.r2star_hz * model.brain)
        / np.maximum(mean(model.brain), 0.5)
        * brain,
        "desc-local_fieldmap": mean(fields.local_hz) * brain,
        "desc-total_fieldmap": mean(fields.total_hz) * brain,
    }
    if model.iron_ppm is not None:
        maps["desc-paramagnetic_Chimap"] = mean(model.iron_ppm) * brain
        maps["desc-diamagnetic_Chimap"] = mean(model.chi_ppm - model.iron_ppm) * brain
    fractions = [mean(model.deep == label) for label in range(1, len(DEEP_LABELS) + 1)]
    deep = np.zeros(brain.shape, np.uint8)
    for label, fraction in enumerate(fractions, start=1):
        # At most one structure fills half of a voxel, save for a tie of exactly two halves.
        deep[fraction >= 0.5] = label
    masks = {
        "desc-brain_mask": brain,
        "label-ventricle_mask": mean(model.ventricle & ~model.plexus) >= 0.5,
        "label-atria_mask": mean(model.atria & ~model.plexus) >= 0.5,
        "label-plexus_mask": mean(model.plexus) >= 0.5,
        "label-lesion_mask": mean(model.lesion) >= 0.5,
        "label-vein_mask": vein >= VEIN_MASK_FRACTION,
        "label-vein_percent": np.round(100 * vein),
        "desc-deepgray_dseg": deep,
        # The thalami are the first pair of DEEP_LABELS: 1 left, 2 right.
        "label-thalamus_mask": np.where(deep <= 2, deep, 0),
    }
    found = {name: Image(data.astype(np.float32), affine) for name, data in maps.items()}
    found |= {
        f"space-MEGRE_{name}": Image(data.astype(np.uint8), affine) for name, data in masks.items()
    }
    return found


def susceptibility_values(model: FineModel) -> dict[str, object]:
    """Return the true relative susceptibilities (ppb), over fine voxels without vein or lesion.

    That of the thalamus is the mean over all of it, that of other nuclei is that of their tissue.

    The reference is the CSF of the atria: voxels that hold the least plexus are left out, for a
    hundredth of a calcification weighs as much as six parts per billion.
    """
    clean = (model.vein < NO_VEIN_FRACTION) & ~model.lesion
    csf_ppb = 1000 * float(
        model.chi_ppm[model.atria & ~model.plexus_trace & clean].mean(dtype=np.float64)
    )
    brain_ppb = 1000 * float(model.chi_ppm[model.brain].mean(dtype=np.float64))
    chi = model.chi_ppm[model.deep > 0].astype(np.float64) * 1000
    # Indexed by the same mask as ``chi``, so that both have one order; what is not clean gets label
    # 0.
    label = np.where(clean, model.deep, 0)[model.deep > 0]

    def mean(*wanted: int) -> float:
        return float(chi[np.isin(label, wanted)].mean())

    regions = {"thalamus": mean(1, 2) - csf_ppb}
    for name in REGIONS:
        inside = _tissue(model.deep, labels_of(name)) & clean
        # A slab may end before a structure: then nothing is true of it.
        if name not in regions and inside.any():
            regions[name] = 1000 * float(model.chi_ppm[inside].mean(dtype=np.float64)) - csf_ppb
    return {
        "chi_relative_csf": {
            "L": mean(1) - csf_ppb,
            "R": mean(2) - csf_ppb,
            "LR": mean(1, 2) - csf_ppb,
        },
        "chi_relative_brain": {"LR": mean(1, 2) - brain_ppb},
        "chi_csf_ppb": csf_ppb,
        "chi_brain_mean_ppb": brain_ppb,
        "roi_chi_relative_csf": regions,
    }


def _tissue(deep: NDArray[np.uint8], wanted: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the voxels of a nucleus that hold nothing else, or all where it has no inside.

    What is true of a nucleus is the susceptibility of its tissue. Voxels of its border hold what is
    beside it, some 100 ppb lower: a thin nucleus would have another truth than a thick one.
    """
    region = np.isin(deep, wanted)
    inner = ndimage.binary_erosion(region)
    return np.asarray(inner if inner.any() else region)


def source_values(model: FineModel) -> dict[str, object]:
    """Return the true iron and myelin (ppb) of each region; veins and lesions are left out.

    Empty where they were not simulated apart.
    """
    if model.iron_ppm is None:
        return {}
    clean = (model.vein < NO_VEIN_FRACTION) & ~model.lesion
    regions = {name: np.isin(model.deep, labels_of(name)) & clean for name in REGIONS} | {
        "lesion": model.lesion & (model.vein < NO_VEIN_FRACTION)
    }
    found = {}
    for name, region in regions.items():
        if region.any():
            iron = 1000 * float(model.iron_ppm[region].mean(dtype=np.float64))
            chi = 1000 * float(model.chi_ppm[region].mean(dtype=np.float64))
            found[name] = {"paramagnetic": iron, "diamagnetic": chi - iron}
    return {"roi_sources_ppb": found}


def structural_images(truth: StructuralTruth) -> dict[str, Image]:
    """Return the masks on the T1w grid under their names."""
    brain = truth.tissue.like((truth.tissue.data > 0).astype(np.uint8))
    return {
        "space-T1w_dseg": truth.tissue,
        "space-T1w_desc-deepgray_dseg": truth.deep,
        "space-T1w_label-brain_mask": brain,
        "space-T1w_label-lesion_mask": truth.lesion,
        "space-T1w_label-enhancing_mask": truth.enhancing,
        "space-T1w_label-ventricle_mask": truth.ventricle,
        "space-T1w_label-atria_mask": truth.atria,
        "space-T1w_label-plexus_mask": truth.plexus,
    }


def structural_values(truth: StructuralTruth) -> dict[str, object]:
    """Return volumes (mm3) and counts on the T1w grid."""
    voxel = truth.tissue.voxel_volume_mm3
    volumes = {name: value * voxel for name, value in truth.volumes_voxels.items()}
    for region, parts in REGIONS.items():
        for side in SIDES:
            volumes[f"{region}_{side}"] = sum(volumes[f"{part}_{side}"] for part in parts)
        volumes[f"{region}_LR"] = sum(volumes[f"{region}_{side}"] for side in SIDES)
    volumes["ventricle_lateral"] = float(truth.ventricle.data.sum()) * voxel
    volumes["intracranial"] = float((truth.tissue.data > 0).sum()) * voxel
    volumes["lesion"] = float(truth.lesion.data.sum()) * voxel
    volumes["enhancing"] = float(truth.enhancing.data.sum()) * voxel
    # Lesions that touch at a corner are one, as ``lesions.growth.components`` counts them.
    everywhere = np.ones((3, 3, 3))
    enhancing = ndimage.label(truth.enhancing.data, everywhere)[1]
    return {
        "volume_mm3": volumes,
        "lesion_count": ndimage.label(truth.lesion.data, everywhere)[1],
        "enhancing_count": enhancing,
        "enhancing_present": int(enhancing > 0),
    }
