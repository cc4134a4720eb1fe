"""What is known of a head before its lesions are sought: brain, tissue priors, structures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.core.crop import Crop, around
from bids_qsmthal.core.distance import distance_mm
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.image import Image
from bids_qsmthal.core.labels import TABLE, Group
from bids_qsmthal.core.smoothing import blurred_widely

Mask = NDArray[np.bool_]
Volume = NDArray[np.float32]

LATERAL_VENTRICLES = TABLE.indices(Group.LATERAL_VENTRICLES)
VENTRICLES = TABLE.indices(Group.VENTRICLES)
BRAINSTEM = (TABLE.index("brainstem"),)
DEEP_GRAY = TABLE.indices(Group.DEEP_GRAY)
LIMBIC = TABLE.indices(Group.LIMBIC)
CEREBELLUM = TABLE.indices(Group.CEREBELLUM)
"""Labels of any program, not of the atlas alone: a reader may bring those of FreeSurfer."""

TEMPLATE_ERROR_MM = 2.0
"""Of a registered template's ventricles and gyri."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Context:
    """Masks and priors of one head, on the T1w grid (or on the FLAIR grid when there is no T1w).

    Attributes
    ----------
    brain
        Brain with the CSF inside the skull, bool.
    prior_gm, prior_wm, prior_csf
        Probability of each tissue from a registered template, float32 in 0..1, right to about
        2 mm; all three or none.
    labels
        FreeSurfer numbers: 4/43 lateral ventricles, 14, 15, 16 brainstem, deep gray 10-13, 17,
        18, 26 and 49-54, 58, cerebellum 7, 8, 46, 47 if known.
    """

    brain: Image
    prior_gm: Image | None = None
    prior_wm: Image | None = None
    prior_csf: Image | None = None
    labels: Image | None = None

    def __post_init__(self) -> None:
        """Refuse maps of different grids and incomplete priors."""
        maps = (self.prior_gm, self.prior_wm, self.prior_csf, self.labels)
        for image in maps:
            if image is not None and image.shape != self.brain.shape:
                raise DataError(
                    f"lesions: a prior has the grid {image.shape}, the brain mask has"
                    f" {self.brain.shape}; resample it to the grid of the brain mask"
                )
        if len({prior is None for prior in maps[:3]}) > 1:
            raise DataError("lesions: found some tissue priors, expected GM, WM and CSF or none")

    @property
    def has_priors(self) -> bool:
        """Whether the tissue priors are there."""
        return self.prior_wm is not None


@dataclass(frozen=True, slots=True, eq=False)
class BrainBox:
    """The part of a grid that holds the brain, and what is measured in mm there."""

    crop: Crop
    voxel_size_mm: tuple[float, float, float]

    def blur(self, data: NDArray[Any], sigma_mm: float) -> Volume:
        """Convolve with a Gaussian of the given standard deviation."""
        # Three deviations hold 99.7 % of a Gaussian, at three quarters of scipy's default reach.
        sigma = [sigma_mm / size for size in self.voxel_size_mm]
        blurred: Volume = ndimage.gaussian_filter(data.astype(np.float32), sigma, truncate=3.0)
        return blurred

    def blur_widely(self, data: NDArray[Any], sigma_mm: float) -> Volume:
        """Convolve with about a Gaussian, at a cost that its width does not change."""
        return blurred_widely(data, [sigma_mm / size for size in self.voxel_size_mm])

    def cube(self, reach_mm: float) -> tuple[int, int, int]:
        """Return the voxels along each axis of a cube whose corners are about that far."""
        x, y, z = (2 * round(reach_mm / np.sqrt(3) / size) + 1 for size in self.voxel_size_mm)
        return x, y, z

    def dilate(self, mask: Mask, radius_mm: float) -> Mask:
        """Return the voxels within a distance of a mask."""
        reach = [int(radius_mm / size) + 1 for size in self.voxel_size_mm]
        near = around(mask, margin=reach)
        if near is None:
            return np.zeros(mask.shape, bool)
        # Farther off than the box nothing is within the radius: most masks fill a small part.
        # Distances are float32: one of exactly the radius must not fall out by rounding.
        return near.paste(self.distance_mm(near.cut(mask)) <= radius_mm + 1e-6)

    def distance_mm(self, mask: Mask) -> Volume:
        """Return the distance of each voxel to the mask; infinite where the mask is empty."""
        return distance_mm(mask, self.voxel_size_mm)


def box_around(brain: Image, margin_mm: float = 3.0) -> BrainBox:
    """Return the smallest box that holds the brain and a margin."""
    size_mm = brain.grid.voxel_size_mm
    crop = around(brain.data > 0, margin=[int(margin_mm / size) + 1 for size in size_mm])
    if crop is None:
        raise DataError("lesions: the brain mask is empty; look at the brain extraction")
    return BrainBox(crop, size_mm)


def softened_priors(context: Context, box: BrainBox) -> tuple[Volume, Volume, Volume]:
    """Return the priors of GM, WM and CSF in the box, softened by half of the template's error."""
    gm, wm, csf = (
        box.blur(box.crop.cut(prior.data), TEMPLATE_ERROR_MM / 2)
        for prior in (context.prior_gm, context.prior_wm, context.prior_csf)
        if prior is not None
    )
    return gm, wm, csf


def white_is_likeliest(priors: tuple[Volume, Volume, Volume]) -> Mask:
    """Return where the priors of GM, WM and CSF show white matter sooner than the other two."""
    gm, wm, csf = priors
    return np.asarray((wm > gm) & (wm > csf))
