"""From a T1w image to what all later steps need: even intensities, brain, template, priors."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_qsmthal.anatomy import atlas
from bids_qsmthal.anatomy.ants_bridge import RegistrationStage, align
from bids_qsmthal.anatomy.bias_field import BiasField, bias_corrected
from bids_qsmthal.anatomy.brain import BrainExtraction, brain_mask, volume_warnings
from bids_qsmthal.anatomy.deformation import Deformation, deform, inverted
from bids_qsmthal.anatomy.frame import Frame
from bids_qsmthal.anatomy.sampling import isotropic
from bids_qsmthal.anatomy.warping import Warp, sample_images
from bids_qsmthal.core.image import Image
from bids_qsmthal.core.scan_warnings import ScanWarning, TemplateRegistrationFailed

if TYPE_CHECKING:
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)


AFFINE = RegistrationStage(
    transform="Affine[0.1]",
    metric="MI",
    iterations=(200, 100),
    shrink=(4, 2),
    smooth_voxels=(2, 1),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalisation:
    """Registration of the template to the brain.

    Attributes
    ----------
    affine_mm
        Voxel size of the affine stage.
    affine
        The affine stage.
    deformation_mm
        Voxel size of the deformable stage.
    deformation
        The deformable stage.
    min_correlation
        Below this correlation of brain and warped template the registration has failed: good
        ones reach .85 to .95, the affine stage alone .4 to .6.
    """

    affine_mm: float = 2.0
    affine: RegistrationStage = AFFINE
    deformation_mm: float = 1.0
    deformation: Deformation = field(default_factory=Deformation)
    min_correlation: float = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """All choices of ``prepare``."""

    brain: BrainExtraction = field(default_factory=BrainExtraction)
    bias: BiasField = field(default_factory=BiasField)
    normalisation: Normalisation = field(default_factory=Normalisation)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A participant's T1w image made ready; every image is on the grid of the T1w file.

    Attributes
    ----------
    t1w
        Corrected for the gain of the coils (N4), float32.
    brain
        Boolean: brain and the fluid inside the skull.
    prior_gm, prior_wm, prior_csf
        Tissue probabilities of the template, 0 to 1, float32; they sum to one in the template's
        brain.
    labels
        Deep gray nuclei, ventricles, brainstem; FreeSurfer's numbers.
    regions
        1, 2 cerebrum left, right; 3, 4 cerebellum; 5 brainstem.
    thalamus_prior
        Left, right; float32.
    nuclei, atria
        Labels of thalamic nuclei; 1 left and 2 right atrium.
    subcortex
        Basal ganglia and nuclei of the midbrain, numbers of ``desc-subcortex_dseg``.
    vein_prior
        Where deep veins run beside the thalamus, 0 to 1.
    to_template
        Where each point of the T1w image lies in the template.
    quality
        Figures that say how well each step went.
    warnings
        What a reader must know.
    """

    t1w: Image
    brain: Image
    prior_gm: Image
    prior_wm: Image
    prior_csf: Image
    labels: Image
    regions: Image
    thalamus_prior: tuple[Image, Image]
    nuclei: Image
    subcortex: Image
    atria: Image
    vein_prior: Image
    to_template: Warp
    quality: dict[str, float]
    warnings: tuple[ScanWarning, ...]


def prepare(
    t1w: Image, *, settings: Preparation | None = None, brain: Image | None = None, seed: int = 1
) -> Prepared:
    """Make a T1w image ready.

    Parameters
    ----------
    t1w
        Whole head or brain only, any orientation, shape (x, y, z).
    settings
        How.
    brain
        A brain mask of another program or of the user; found if not given.
    seed
        Of the registration.

    Raises
    ------
    DataError
        The image shows no brain, or its grid cannot be used.
    """
    how = settings or Preparation()
    mask = brain_mask(t1w, settings=how.brain) if brain is None else brain
    logger.info("brain volume: %.0f mL", mask.data.sum() * mask.voxel_volume_mm3 / 1000)
    frame = Frame.around(mask, 10.0)
    inside = frame.cut(mask)
    even = bias_corrected(frame.cut(t1w), inside, how.bias)
    warp = normalise(even, inside, settings=how.normalisation, seed=seed)
    carried = carry(warp, even)
    # In the brain alone: zeros outside both images would make any pair agree.
    correlation = _correlation(even.data, carried["T1w"], inside.data)
    warnings = volume_warnings(mask, settings=how.brain)
    if correlation < how.normalisation.min_correlation:
        warnings.append(TemplateRegistrationFailed(correlation, how.normalisation.min_correlation))
    quality = {
        "brain_volume_ml": float(mask.data.sum()) * mask.voxel_volume_mm3 / 1000,
        "template_correlation": correlation,
    }
    return Prepared(
        t1w=_whole_corrected(t1w, even, frame),
        brain=mask,
        prior_gm=frame.paste(carried["label-GM_probseg"]),
        prior_wm=frame.paste(carried["label-WM_probseg"]),
        prior_csf=frame.paste(carried["label-CSF_probseg"]),
        labels=frame.paste(carried["desc-deepgray_dseg"]),
        regions=frame.paste(carried["desc-regions_dseg"]),
        thalamus_prior=(
            frame.paste(carried["hemi-L_label-thalamus_probseg"]),
            frame.paste(carried["hemi-R_label-thalamus_probseg"]),
        ),
        nuclei=frame.paste(carried["desc-thalamicnuclei_dseg"]),
        subcortex=frame.paste(carried["desc-subcortex_dseg"]),
        atria=frame.paste(carried["desc-atria_dseg"]),
        vein_prior=frame.paste(carried["label-vein_probseg"]),
        to_template=warp,
        quality=quality,
        warnings=tuple(warnings),
    )


SOFT = (
    "T1w",
    "label-GM_probseg",
    "label-WM_probseg",
    "label-CSF_probseg",
    "hemi-L_label-thalamus_probseg",
    "hemi-R_label-thalamus_probseg",
    "label-vein_probseg",
)
HARD = (
    "desc-deepgray_dseg",
    "desc-regions_dseg",
    "desc-thalamicnuclei_dseg",
    "desc-subcortex_dseg",
    "desc-atria_dseg",
)


def carry(warp: Warp, onto: Image) -> dict[str, NDArray[Any]]:
    """Sample every file of the atlas at the voxels of an image."""
    points = warp.template_points(onto)
    soft = sample_images([atlas.probability(name) for name in SOFT], points)
    # Labels by nearest neighbour: a mean of two numbers would be the number of a third structure.
    hard = sample_images([atlas.template(name) for name in HARD], points, order=0)
    return dict(zip(SOFT + HARD, [*soft, *hard], strict=True))


def normalise(even: Image, inside: Image, *, settings: Normalisation, seed: int) -> Warp:
    """Register the template to a brain.

    Parameters
    ----------
    even
        T1w image with even intensities, upright, shape (x, y, z).
    inside
        Its brain.
    settings, seed
        How.
    """
    # The variance floor of the deformation is absolute: intensities must lie between 0 and about 1.
    # The maximum would be a vessel.
    level = float(np.percentile(even.data[inside.data], 99))
    brain = even.like((np.where(inside.data, even.data, 0) / level).astype(np.float32))
    template = atlas.probability("T1w")
    coarse = isotropic(brain, settings.affine_mm)
    # No skull on either side: the template has none, and skull on one side alone scales the brain
    # to fit it.
    linear = align(coarse, isotropic(template, settings.affine_mm), (settings.affine,), seed=seed)
    fixed = isotropic(brain, settings.deformation_mm)
    # The affine is applied before, so that the deformable stage works on one grid and its fields
    # stay small.
    moving = fixed.like(sample_images([template], Warp(linear, ()).template_points(fixed))[0])
    forward = deform(fixed, moving, settings.deformation)
    return Warp(linear, (forward,), inverted(forward))


def _correlation(first: NDArray[Any], second: NDArray[Any], mask: NDArray[np.bool_]) -> float:
    return float(np.corrcoef(first[mask], second[mask])[0, 1])


def _whole_corrected(t1w: Image, even: Image, frame: Frame) -> Image:
    """Put the corrected head back; outside the frame the image stays as it was."""
    corrected = frame.paste(even.data)
    covered = frame.paste(np.ones(even.shape, dtype=np.bool_))
    return t1w.like(np.where(covered.data, corrected.data, t1w.data).astype(np.float32))
