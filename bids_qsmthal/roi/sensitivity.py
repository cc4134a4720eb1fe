"""How the number moves when a choice is made otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bids_qsmthal.roi.reference import csf_reference
from bids_qsmthal.roi.stages import reference_images, thalamus_images
from bids_qsmthal.roi.thalamus import thalamus

if TYPE_CHECKING:
    from bids_qsmthal.qsm import Array, Mask
    from bids_qsmthal.roi.inputs import Inputs
    from bids_qsmthal.roi.morphology import Labels
    from bids_qsmthal.roi.regions import Regions
    from bids_qsmthal.roi.stages import Masks, Settings

HEMISPHERES = {"L": (1,), "R": (2,), "LR": (1, 2)}


def sensitivity(
    inputs: Inputs, regions: Regions, masks: Masks, *, settings: Settings
) -> pd.DataFrame:
    """Return the relative susceptibility (ppb) with one choice changed at a time.

    Returns
    -------
    pandas.DataFrame
        Columns choice, variant, hemisphere, value, difference (from the default), unit,
        n_voxels (of the thalamus).
    """
    chi_ppb = 1e3 * inputs.chi_ppm.data
    own = masks.thalamus.labels
    default_zero = float(chi_ppb[masks.reference.mask].mean(dtype=np.float64))
    variants = [("default", "default", own, default_zero)]
    variants += [
        (choice, name, labels, default_zero)
        for choice, name, labels in _other_thalami(inputs, regions, masks, settings)
    ]
    variants += [
        ("reference", name, own, float(chi_ppb[mask].mean(dtype=np.float64)))
        for name, mask in _other_references(inputs, regions, masks, settings)
        if mask.any()
    ]
    rows = []
    for choice, name, labels, zero in variants:
        for hemisphere, sides in HEMISPHERES.items():
            inside = np.isin(labels, sides)
            rows.append(
                {
                    "choice": choice,
                    "variant": name,
                    "hemisphere": hemisphere,
                    "value": _mean(chi_ppb, inside) - zero,
                    "difference": _mean(chi_ppb, inside)
                    - zero
                    - (_mean(chi_ppb, np.isin(own, sides)) - default_zero),
                    "unit": "ppb",
                    "n_voxels": int(inside.sum()),
                }
            )
    return pd.DataFrame(rows)


def _mean(values: Array, mask: Mask) -> float:
    return float(values[mask].mean(dtype=np.float64)) if mask.any() else float("nan")


def _other_thalami(
    inputs: Inputs, regions: Regions, masks: Masks, settings: Settings
) -> list[tuple[str, str, Labels]]:
    if masks.source["thalamus"] == "supplied":
        return []
    rule = settings.thalamus
    images = thalamus_images(inputs, regions, masks.veins, masks.reference.fluid)
    no_veins = replace(images, veins=np.zeros_like(masks.veins))
    other = not rule.exclude_lesions
    rim_kept = replace(rule, rim_share=rule.majority, rim_mm=-np.inf)
    return [
        ("veins", "not removed", thalamus(no_veins, rule=rule).labels),
        ("rim", "not removed", thalamus(images, rule=rim_kept).labels),
        (
            "lesions",
            "removed" if other else "not removed",
            thalamus(images, rule=replace(rule, exclude_lesions=other)).labels,
        ),
    ]


def _other_references(
    inputs: Inputs, regions: Regions, masks: Masks, settings: Settings
) -> list[tuple[str, Mask]]:
    size = inputs.chi_ppm.grid.voxel_size_mm
    images = reference_images(inputs, regions)
    found = []
    for start in ("atria", "ventricles"):
        rule = replace(settings.reference, region=start)
        found.append((start, csf_reference(images, size, rule=rule).mask))
    found.append(("global CSF", masks.global_csf))
    found.append(("whole brain", regions.usable))
    return found
