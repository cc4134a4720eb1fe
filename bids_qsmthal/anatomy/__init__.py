"""Brain, tissues, thalamus and nuclei, cortical thickness from a T1w image; registration."""

from bids_qsmthal.anatomy.ants_bridge import itk_affine_text, read_itk_affine_text
from bids_qsmthal.anatomy.bias_field import BiasField
from bids_qsmthal.anatomy.brain import LEAST_EXTENT_MM, BrainExtraction, brain_mask
from bids_qsmthal.anatomy.external_labels import ExternalLabels
from bids_qsmthal.anatomy.freesurfer import (
    ExternalMeasures,
    deep_gray_of,
    lesions_of,
    read_subject,
    read_synthseg,
    tissue_of,
)
from bids_qsmthal.anatomy.mp2rage import without_noise
from bids_qsmthal.anatomy.preparation import (
    Normalisation,
    Preparation,
    Prepared,
    prepare,
)
from bids_qsmthal.anatomy.registration import Rigid, RigidRegistration, rigid, rigid_brains
from bids_qsmthal.anatomy.segmentation import Anatomy, SegmentationSettings, segment
from bids_qsmthal.anatomy.user_atlas import CarriedAtlas, CarriedAtlases, UserAtlas, carried
from bids_qsmthal.anatomy.warping import Warp, fields

__all__ = [
    "LEAST_EXTENT_MM",
    "Anatomy",
    "BiasField",
    "BrainExtraction",
    "CarriedAtlas",
    "CarriedAtlases",
    "ExternalLabels",
    "ExternalMeasures",
    "Normalisation",
    "Preparation",
    "Prepared",
    "Rigid",
    "RigidRegistration",
    "SegmentationSettings",
    "UserAtlas",
    "Warp",
    "brain_mask",
    "carried",
    "deep_gray_of",
    "fields",
    "itk_affine_text",
    "lesions_of",
    "prepare",
    "read_itk_affine_text",
    "read_subject",
    "read_synthseg",
    "rigid",
    "rigid_brains",
    "segment",
    "tissue_of",
    "without_noise",
]
