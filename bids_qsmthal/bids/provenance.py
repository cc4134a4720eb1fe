"""Settings and methods as JSON holds them: each method under its name, with its parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from bids_qsmthal import roi
from bids_qsmthal.anatomy import basal_ganglia, deepgray, thalamus, thickness, tissue
from bids_qsmthal.anatomy.ants_bridge import RegistrationStage
from bids_qsmthal.anatomy.bias_field import BiasField
from bids_qsmthal.anatomy.brain import BrainExtraction
from bids_qsmthal.anatomy.deformation import Deformation
from bids_qsmthal.anatomy.preparation import Normalisation
from bids_qsmthal.lesions import FlairLesions
from bids_qsmthal.qsm import (
    Device,
    PhaseQuality,
    background,
    csf,
    field,
    fluid,
    inversion,
    medi,
    relaxation,
    separation,
    spherical,
    temporal,
    unwrapping,
)
from bids_qsmthal.roi.reference import ReferenceRule
from bids_qsmthal.roi.thalamus import ThalamusRule
from bids_qsmthal.roi.veins import VeinRule

NAMES: Mapping[type, str] = {
    BrainExtraction: "convolutional network for brain extraction",
    BiasField: "N4 bias field correction",
    Normalisation: "registration of the template to T1w",
    RegistrationStage: "registration by ANTs",
    Deformation: "greedy diffeomorphic registration by local correlation",
    tissue.TissueModel: "Gaussian mixture with a Markov random field and tissue priors",
    thalamus.Border: "border of the thalamus moved from the atlas to the image",
    basal_ganglia.BasalGanglia: "basal ganglia by intensity, atlas and neighbours",
    deepgray.Ventricles: "ventricles moved from the atlas to the image",
    thickness.Thickness: "distance between inner and outer surface of the cortex",
    FlairLesions: "T2 lesions as outliers of tissue in FLAIR",
    unwrapping.Romeo: "ROMEO",
    unwrapping.Laplacian: "Laplacian unwrapping",
    temporal.EchoByEcho: "ROMEO, template echo",
    field.ComplexFit: "nonlinear fit of the complex echoes",
    field.GivenField: "total field of another program",
    relaxation.WeightedExponential: "weighted exponential fit",
    relaxation.Arlo: "ARLO",
    background.JointDipoleFields: "joint sources inside and outside the mask",
    background.ProjectionOntoDipoleFields: "PDF",
    spherical.SphericalMean: "V-SHARP",
    spherical.RegularisedSphericalMean: "RESHARP",
    spherical.IteratedSphericalMean: "iSMV",
    spherical.LaplacianBoundaryValues: "LBV",
    fluid.SlowDecay: "fluid by its slow decay",
    csf.GlobalCsf: "fluid of the whole head",
    csf.VentricularCsf: "fluid of the lateral ventricles",
    inversion.Medi: "MEDI",
    inversion.TotalVariation: "total variation",
    inversion.ClosedFormL2: "closed-form L2",
    inversion.ThresholdedDivision: "TKD",
    medi.SplitBregman: "split Bregman",
    medi.GaussNewton: "Gauss-Newton with conjugate gradients",
    PhaseQuality: "smoothness of the phase from voxel to voxel",
    ReferenceRule: "CSF reference by region, erosion and outliers",
    VeinRule: "veins by a vessel filter and region growing",
    ThalamusRule: "thalamus without rim, veins and lost voxels",
    roi.RimRule: "shape of the susceptibility across the border of a lesion, evidence of the field",
    roi.FieldRule: "local field of a lesion explained with and without a rim",
    separation.R2StarSeparation: "separation by R2*",
    separation.BrokenLine: "R2 by a broken line of R2*",
    separation.Proportional: "R2* as a multiple of R2'",
}
"""What a reader calls each method. A group of methods, or of a user's choices, has no name: the key
it stands under says what it is."""


def plain(value: object) -> Any:  # noqa: ANN401 - JSON
    """Turn settings, methods and their parameters into what JSON can hold.

    A method becomes its name and its parameters. The unit of a parameter is the end of its name
    (``margin_mm``); one without has none.
    """
    if isinstance(value, Device):
        return value.name
    if is_dataclass(value) and not isinstance(value, type):
        name = {"Name": NAMES[type(value)]} if type(value) in NAMES else {}
        return name | {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return _atom(value.item() if isinstance(value, np.generic) else value)


def _atom(value: object) -> str | float | bool | None:
    # JSON has no NaN and no infinity; other readers refuse Python's.
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float | bool | None) else str(value)
