"""How the number changes with each choice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bids_qsmthal.roi.masks import (
    MaskSource,
    RegionSettings,
    reference_images,
    region_masks,
    thalamus_images,
)
from bids_qsmthal.roi.reference import ReferenceRegion, csf_reference
from bids_qsmthal.roi.thalamus import thalamus

if TYPE_CHECKING:
    from bids_qsmthal.qsm import Array, Mask
    from bids_qsmthal.roi.inputs import Inputs
    from bids_qsmthal.roi.masks import Masks
    from bids_qsmthal.roi.morphology import Labels
    from bids_qsmthal.roi.regions import Regions

HEMISPHERES = {"L": (1,), "R": (2,), "LR": (1, 2)}


def sensitivity(
    inputs: Inputs, regions: Regions, masks: Masks, *, settings: RegionSettings
) -> pd.DataFrame:
    """Return the relative susceptibility (ppb) with one choice changed at a time.

    Returns
    -------
    pandas.DataFrame
        Columns choice, variant, hemisphere, value, difference (from the default), unit,
        n_voxels (of the thalamus).
    """
    default = _Variant(
        "default", "default", masks.thalamus.labels, masks.reference.mask, inputs.chi_ppm.data
    )
    variants = [default]
    variants += [
        replace(default, choice=choice, name=name, labels=labels)
        for choice, name, labels in _other_thalami(inputs, regions, masks, settings)
    ]
    variants += [
        replace(default, choice="reference", name=name, reference=mask)
        # An empty reference has no row: every value against it would be NaN.
        for name, mask in _other_references(inputs, regions, masks, settings)
        if mask.any()
    ]
    variants += _by_default_rules(inputs, regions, masks, settings, default)
    variants += [
        default.in_map(name, np.asarray(image.data))
        for name, image in inputs.backgrounds_ppm.items()
    ]
    rows = []
    for variant in variants:
        for hemisphere, sides in HEMISPHERES.items():
            value, count = variant.measured(sides)
            rows.append(
                {
                    "choice": variant.choice,
                    "variant": variant.name,
                    "hemisphere": hemisphere,
                    "value": value,
                    "difference": value - default.measured(sides)[0],
                    "unit": "ppb",
                    "n_voxels": count,
                }
            )
    return pd.DataFrame(rows)


@dataclass(frozen=True, slots=True, eq=False)
class _Variant:
    """One way to make the number: which thalamus against which reference in which map."""

    choice: str
    name: str
    labels: Labels
    reference: Mask
    chi_ppm: Array

    def measured(self, sides: tuple[int, ...]) -> tuple[float, int]:
        """Return the relative susceptibility (ppb) of some sides, and their voxels."""
        inside = np.isin(self.labels, sides)
        zero = _mean(self.chi_ppm, self.reference)
        return 1e3 * (_mean(self.chi_ppm, inside) - zero), int(inside.sum())

    def in_map(self, background: str, chi_ppm: Array) -> _Variant:
        """Return the same masks in the map of another background removal.

        It may have left a rim without susceptibility, written as zero, which is no measurement.
        """
        # SHARP-like methods lose a rim, so both maps are compared where both were made.
        made = chi_ppm != 0
        labels = np.where(made, self.labels, 0).astype(np.uint8)
        return _Variant("background", background, labels, self.reference & made, chi_ppm)


def _by_default_rules(
    inputs: Inputs, regions: Regions, masks: Masks, settings: RegionSettings, default: _Variant
) -> list[_Variant]:
    """Return the number by the default rules for veins, thalamus and reference together.

    Nothing where these rules made the number itself, or where the thalamus is external.
    """
    usual = RegionSettings()
    rules = (settings.veins, settings.thalamus, settings.reference)
    same = rules == (usual.veins, usual.thalamus, usual.reference)
    if same or masks.source["thalamus"] is MaskSource.EXTERNAL:
        return []
    made = region_masks(inputs, regions, settings=usual)
    labels, reference = made.thalamus.labels, made.reference.mask
    return [replace(default, choice="rules", name="default", labels=labels, reference=reference)]


def _mean(values: Array, mask: Mask) -> float:
    # The maps are float32. Differences of a tenth of a ppb need sums in float64.
    return float(values[mask].mean(dtype=np.float64)) if mask.any() else float("nan")


def _other_thalami(
    inputs: Inputs, regions: Regions, masks: Masks, settings: RegionSettings
) -> list[tuple[str, str, Labels]]:
    if masks.source["thalamus"] is MaskSource.EXTERNAL:
        return []
    rule = settings.thalamus
    images = thalamus_images(inputs, regions, masks.veins, masks.reference.fluid)
    no_veins = replace(images, veins=np.zeros_like(masks.veins))
    other = not rule.exclude_lesions
    with_rim, other_rim = not rule.remove_rim, replace(rule, remove_rim=not rule.remove_rim)
    return [
        ("veins", "not removed", thalamus(no_veins, rule=rule).labels),
        ("rim", "removed" if with_rim else "not removed", thalamus(images, rule=other_rim).labels),
        (
            "lesions",
            "removed" if other else "not removed",
            thalamus(images, rule=replace(rule, exclude_lesions=other)).labels,
        ),
    ]


def _other_references(
    inputs: Inputs, regions: Regions, masks: Masks, settings: RegionSettings
) -> list[tuple[str, Mask]]:
    size = inputs.chi_ppm.grid.voxel_size_mm
    images = reference_images(inputs, regions)
    references = []
    for start in (ReferenceRegion.ATRIA, ReferenceRegion.VENTRICLES):
        rule = replace(settings.reference, region=start)
        references.append((start.value, csf_reference(images, size, rule=rule).mask))
    references.append(("global CSF", masks.global_csf))
    references.append(("whole brain", regions.usable))
    return references
