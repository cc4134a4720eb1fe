"""The arrays of a prepared image in the frame of the brain, in which tissues are found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from bids_qsmthal.anatomy.frame import Frame
    from bids_qsmthal.anatomy.preparation import Prepared
    from bids_qsmthal.core.image import Image

Float = NDArray[np.float32]
Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Cropped:
    """Arrays, shape (x, y, z), axes nearest to R, A, S.

    Attributes
    ----------
    t1w
        Even intensities.
    brain, lesions
        Masks.
    priors
        Probabilities of fluid, gray and white matter.
    thalamus
        Warped probability of the left and of the right one.
    labels, regions, nuclei, subcortex, atria
        As in ``Prepared``.
    voxel_mm
        Size of a voxel.
    """

    t1w: Float
    brain: Mask
    lesions: Mask
    priors: tuple[Float, Float, Float]
    thalamus: tuple[Float, Float]
    labels: Labels
    regions: Labels
    nuclei: Labels
    subcortex: Labels
    atria: Labels
    voxel_mm: tuple[float, float, float]

    @classmethod
    def from_prepared(cls, prepared: Prepared, lesion_mask: Image | None, frame: Frame) -> Cropped:
        """Cut a prepared image and its lesions to a frame."""
        t1w = frame.cut(prepared.t1w)
        brain = frame.cut(prepared.brain).data > 0
        lesions = np.zeros_like(brain) if lesion_mask is None else frame.cut(lesion_mask).data > 0
        left, right = prepared.thalamus_prior
        return cls(
            t1w=t1w.data,
            brain=brain,
            # A lesion mask of somebody else may reach beyond our brain; its volume must not be
            # counted outside.
            lesions=lesions & brain,
            priors=(
                # Order of ``tissue``: CSF, GM, WM.
                frame.cut(prepared.prior_csf).data,
                frame.cut(prepared.prior_gm).data,
                frame.cut(prepared.prior_wm).data,
            ),
            thalamus=(frame.cut(left).data, frame.cut(right).data),
            labels=frame.cut(prepared.labels).data,
            regions=frame.cut(prepared.regions).data,
            nuclei=frame.cut(prepared.nuclei).data,
            subcortex=frame.cut(prepared.subcortex).data,
            atria=frame.cut(prepared.atria).data,
            voxel_mm=t1w.grid.voxel_size_mm,
        )

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of a voxel."""
        return float(np.prod(self.voxel_mm))
