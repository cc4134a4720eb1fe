"""Regions of interest: CSF reference, veins, thalamus, and the numbers measured in them."""

from bids_qsmthal.roi.inputs import Inputs, Segmentation, Supplied
from bids_qsmthal.roi.labels import FREESURFER
from bids_qsmthal.roi.measure import Result, measure
from bids_qsmthal.roi.quality import LIMITS, Limit, quality
from bids_qsmthal.roi.reference import Reference, ReferenceImages, ReferenceRule, csf_reference
from bids_qsmthal.roi.stages import Settings
from bids_qsmthal.roi.thalamus import ThalamusImages, ThalamusRule, thalamus
from bids_qsmthal.roi.veins import VeinImages, VeinRule, veins, vesselness

__all__ = [
    "FREESURFER",
    "LIMITS",
    "Inputs",
    "Limit",
    "Reference",
    "ReferenceImages",
    "ReferenceRule",
    "Result",
    "Segmentation",
    "Settings",
    "Supplied",
    "ThalamusImages",
    "ThalamusRule",
    "VeinImages",
    "VeinRule",
    "csf_reference",
    "measure",
    "quality",
    "thalamus",
    "veins",
    "vesselness",
]
