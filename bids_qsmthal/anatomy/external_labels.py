"""Segmentations of other programs, or corrected by the user, in the places of ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_qsmthal.anatomy.tissue import Fractions
from bids_qsmthal.core.labels import TissueClass

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bids_qsmthal.core.image import Image


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ExternalLabels:
    """Label images on the grid of T1w; ``None`` is found by us.

    Attributes
    ----------
    deepgray
        Deep gray nuclei and ventricles by FreeSurfer's numbers.
    tissue
        1 gray matter, 2 white matter, 3 fluid; what it leaves open in the brain is fluid.
    nuclei
        Thalamic nuclei, and what their numbers mean.
    """

    deepgray: Image | None = None
    tissue: Image | None = None
    nuclei: tuple[Image, dict[int, str]] | None = None


def tissue_fractions(
    tissue: NDArray[Any], brain: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return gray matter, white matter and fluid as fractions: each voxel is of one kind."""
    gray, white = (
        ((tissue == kind) & brain).astype(np.float32)
        for kind in (TissueClass.GRAY, TissueClass.WHITE)
    )
    # What no label names is fluid: programs that label gray and white matter alone leave it open.
    return gray, white, brain - gray - white


def fractions(
    tissue: NDArray[Any], t1w: NDArray[np.float32], brain: NDArray[np.bool_]
) -> Fractions:
    """Return labels as a classification, with the intensities that the image has in them."""
    gray, white, fluid = tissue_fractions(tissue, brain)
    values = [t1w[fraction > 0] for fraction in (fluid, gray, white)]
    # NaN and not zero where a tissue has no voxel: zero would be taken for an intensity.
    middle = [float(np.median(of)) if of.size else float("nan") for of in values]
    spread = [float(np.std(of)) if of.size else float("nan") for of in values]
    return Fractions(
        csf=fluid,
        gm=gray,
        wm=white,
        means=(middle[0], middle[1], middle[2]),
        spread=(spread[0], spread[1], spread[2]),
        converged=True,
    )
