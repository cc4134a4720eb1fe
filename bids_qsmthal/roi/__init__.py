"""Regions of interest: CSF reference, veins, thalamus, and the numbers measured in them."""

from bids_qsmthal.roi.chain_error import ChainError
from bids_qsmthal.roi.inputs import ExternalRegions, Inputs, Segmentation
from bids_qsmthal.roi.lesion_iron import LesionIron, LesionScan, marked, measured_lesions
from bids_qsmthal.roi.masks import MaskSource, RegionSettings
from bids_qsmthal.roi.measure import RegionResults, measure
from bids_qsmthal.roi.quality import LIMITS, Check, Limit, checks
from bids_qsmthal.roi.reference import (
    Reference,
    ReferenceImages,
    ReferenceLevel,
    ReferenceRegion,
    ReferenceRule,
    csf_reference,
)
from bids_qsmthal.roi.rim_field import FieldRule
from bids_qsmthal.roi.rims import RimRule
from bids_qsmthal.roi.thalamus import ThalamusImages, ThalamusRule, thalamus
from bids_qsmthal.roi.uncertainty import Mean
from bids_qsmthal.roi.veins import VeinImages, VeinRule, veins, vesselness

__all__ = [
    "LIMITS",
    "ChainError",
    "Check",
    "ExternalRegions",
    "FieldRule",
    "Inputs",
    "LesionIron",
    "LesionScan",
    "Limit",
    "MaskSource",
    "Mean",
    "Reference",
    "ReferenceImages",
    "ReferenceLevel",
    "ReferenceRegion",
    "ReferenceRule",
    "RegionResults",
    "RegionSettings",
    "RimRule",
    "Segmentation",
    "ThalamusImages",
    "ThalamusRule",
    "VeinImages",
    "VeinRule",
    "checks",
    "csf_reference",
    "marked",
    "measure",
    "measured_lesions",
    "thalamus",
    "veins",
    "vesselness",
]
