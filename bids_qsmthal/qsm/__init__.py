"""Quantitative susceptibility mapping: arrays in, arrays out, no files."""

from bids_qsmthal.core.grid import Array, Grid, Mask
from bids_qsmthal.qsm.acquisition import GYROMAGNETIC_RATIO_HZ_PER_T, Acquisition
from bids_qsmthal.qsm.artefacts import ghost_to_signal
from bids_qsmthal.qsm.background import Background, JointDipoleFields, ProjectionOntoDipoleFields
from bids_qsmthal.qsm.csf import CSF_REFERENCES
from bids_qsmthal.qsm.device import Device
from bids_qsmthal.qsm.inversion import INVERSIONS
from bids_qsmthal.qsm.phase_mask import MASKS, MaskChoice, PhaseQuality, reliable_mask
from bids_qsmthal.qsm.reconstruction import Maps, Reconstruction, reconstruct
from bids_qsmthal.qsm.relaxation import RELAXATIONS, decay_snr, r2star_map
from bids_qsmthal.qsm.spherical import (
    IteratedSphericalMean,
    LaplacianBoundaryValues,
    RegularisedSphericalMean,
    SphericalMean,
)
from bids_qsmthal.qsm.unwrapping import UNWRAPPINGS
from bids_qsmthal.qsm.variants import Variants, variants

BACKGROUNDS: dict[str, type[Background]] = {
    "joint": JointDipoleFields,
    "pdf": ProjectionOntoDipoleFields,
    "v-sharp": SphericalMean,
    "resharp": RegularisedSphericalMean,
    "ismv": IteratedSphericalMean,
    "lbv": LaplacianBoundaryValues,
}

__all__ = [
    "BACKGROUNDS",
    "CSF_REFERENCES",
    "GYROMAGNETIC_RATIO_HZ_PER_T",
    "INVERSIONS",
    "MASKS",
    "RELAXATIONS",
    "UNWRAPPINGS",
    "Acquisition",
    "Array",
    "Device",
    "Grid",
    "Maps",
    "Mask",
    "MaskChoice",
    "PhaseQuality",
    "Reconstruction",
    "Variants",
    "decay_snr",
    "ghost_to_signal",
    "r2star_map",
    "reconstruct",
    "reliable_mask",
    "variants",
]
