"""Regions of interest: CSF reference, veins, thalamus, and the numbers measured in them."""

from bids_qsmthal.roi.inputs import ExternalRegions, Inputs, Segmentation
from bids_qsmthal.roi.masks import RegionSettings
from bids_qsmthal.roi.measure import RegionResults, measure
from bids_qsmthal.roi.quality import LIMITS, Limit, quality
from bids_qsmthal.roi.reference import Reference, ReferenceImages, ReferenceRule, csf_reference
from bids_qsmthal.roi.thalamus import ThalamusImages, ThalamusRule, thalamus
from bids_qsmthal.roi.veins import VeinImages, VeinRule, veins, vesselness

__all__ = [
    "LIMITS",
    "ExternalRegions",
    "Inputs",
    "Limit",
    "Reference",
    "ReferenceImages",
    "ReferenceRule",
    "RegionResults",
    "RegionSettings",
    "Segmentation",
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
