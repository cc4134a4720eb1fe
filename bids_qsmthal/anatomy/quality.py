"""How well a segmentation went: figures, and what looks wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bids_qsmthal.core.scan_warnings import (
    ContrastNotT1w,
    ScanWarning,
    ThalamiOfImplausibleSize,
    ThicknessImplausible,
    TissueNotConverged,
)

if TYPE_CHECKING:
    from bids_qsmthal.anatomy.cropping import Cropped
    from bids_qsmthal.anatomy.tissue import Fractions

NORMAL_THICKNESS_MM = (1.8, 3.2)
"""Means of whole cortices lie within (Fischl and Dale 2000, doi 10.1073/pnas.200033797)."""


def quality(tissue: Fractions, volumes: dict[str, float], cropped: Cropped) -> dict[str, float]:
    """Return figures of the classification and of the thalami."""
    csf, gm, wm = tissue.means
    return {
        "tissue_converged": float(tissue.converged),
        # Distance of gray and white matter in units of their spread.
        "gray_white_contrast": (wm - gm) / float(np.hypot(tissue.spread[1], tissue.spread[2])),
        "gray_csf_contrast": (gm - csf) / float(np.hypot(tissue.spread[0], tissue.spread[1])),
        "thalamus_asymmetry": _asymmetry(volumes["thalamus_L"], volumes["thalamus_R"]),
        "filled_lesion_mm3": float(cropped.lesions.sum()) * cropped.voxel_volume_mm3,
    }


def _asymmetry(left: float, right: float) -> float:
    total = left + right
    # Positive where the left one is larger; difference over mean.
    return 2 * (left - right) / total if total > 0 else float("nan")


def segmentation_warnings(
    tissue: Fractions, volumes: dict[str, float], means: dict[str, float]
) -> list[ScanWarning]:
    """Return what looks wrong."""
    found: list[ScanWarning] = []
    csf, gm, wm = tissue.means
    # A class that external labels leave out has no mean: nothing can be compared with it.
    if np.isfinite((csf, gm, wm)).all() and not csf < gm < wm:
        found.append(ContrastNotT1w(float(csf), float(gm), float(wm)))
    if not tissue.converged:
        found.append(TissueNotConverged())
    fraction = volumes["thalamus_LR"] / volumes["intracranial"]
    if not 0.004 < fraction < 0.016:
        found.append(ThalamiOfImplausibleSize(100 * fraction))
    low, high = NORMAL_THICKNESS_MM
    if not low < means["whole"] < high:
        found.append(ThicknessImplausible(means["whole"], low, high))
    return found
