"""Where tissues end at structures: what is known about these settles what intensity cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bids_qsmthal.anatomy.structures import (
    BESIDE_VENTRICLES,
    BRAINSTEM,
    CEREBELLUM,
    GRAY_NUCLEI,
    VENTRICLES,
)
from bids_qsmthal.anatomy.tissue import Fractions, with_sulcal_fluid, without_false_gray
from bids_qsmthal.core.distance import distance_mm
from bids_qsmthal.core.labels import LATERAL_VENTRICLE, THALAMUS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bids_qsmthal.anatomy.cropping import Cropped

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]

WALL_MM = 2.0
"""Partial volume and its neighbours at 1 mm: this near to a ventricle lies its wall."""


def with_borders(
    tissue: Fractions, t1w: Float, labels: NDArray[Any], cropped: Cropped
) -> Fractions:
    """Settle the borders that intensity alone gets wrong: walls of the ventricles, sulci.

    Parameters
    ----------
    tissue
        What the classification found.
    t1w
        The intensities it saw, shape (x, y, z).
    labels
        Structures, FreeSurfer's numbers.
    cropped
        Brain, regions and voxel size.
    """

    def within(structures: Sequence[int], reach_mm: float) -> Mask:
        there = np.isin(labels, structures)
        near: Mask = distance_mm(there, cropped.voxel_mm) <= reach_mm
        return near

    # Caudate and thalamus are gray and touch the ventricle: their side of it is no wall of white
    # matter.
    ventricles = within(LATERAL_VENTRICLE, WALL_MM) & ~within(BESIDE_VENTRICLES, WALL_MM)
    # Cerebellar cortex beside the brainstem is gray and stays.
    brainstem = within((BRAINSTEM,), WALL_MM) & ~np.isin(cropped.regions, CEREBELLUM)
    walls = (ventricles | brainstem) & ~np.isin(labels, (*THALAMUS, *GRAY_NUCLEI)) & cropped.brain
    # Wider than the wall: partial voxels at a ventricle are no sulcal fluid.
    sulci = cropped.brain & ~walls & ~within(VENTRICLES, 1.5 * WALL_MM)
    return with_sulcal_fluid(without_false_gray(tissue, t1w, walls), t1w, sulci)


def with_nuclei(
    tissue: Fractions, labels: NDArray[Any], thalamus: Float
) -> tuple[Float, Float, Float]:
    """Count deep nuclei as gray matter although parts of them are as bright as white matter.

    Parameters
    ----------
    tissue
        Fractions of tissues.
    labels
        Structures, FreeSurfer's numbers.
    thalamus
        Fraction of both thalami, 0 to 1.

    Returns
    -------
    tuple
        Fractions of gray matter, white matter and fluid.
    """
    nuclei = np.maximum(thalamus, np.isin(labels, GRAY_NUCLEI).astype(np.float32))
    # Fluid in a voxel of a nucleus stays fluid; only white matter gives way.
    moved = tissue.wm * np.clip(nuclei, 0, 1)
    # The brainstem counts as white matter, as in FreeSurfer's tables (``freesurfer.WHITE_PARTS``).
    white = np.where(labels == BRAINSTEM, tissue.wm + tissue.gm, tissue.wm - moved)
    gray = np.where(labels == BRAINSTEM, 0, tissue.gm + moved)
    return gray.astype(np.float32), white.astype(np.float32), tissue.csf
