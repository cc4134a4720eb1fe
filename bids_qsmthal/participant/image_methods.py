"""How each image was made, for its sidecar: the methods it went through, no others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bids_qsmthal.bids.provenance import plain
from bids_qsmthal.core.sources import OURS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bids_qsmthal.core.sources import Source
    from bids_qsmthal.settings import Settings

Methods = dict[str, dict[str, Any]]
"""By the key of an image in ``products.PRODUCTS``: each method it went through."""

TISSUES = ("tissue", "gm", "wm", "csf")
LESIONS = ("lesion", "lesion_probability", "lesion_flair")


def structural(settings: Settings) -> Methods:
    """Return how images made from T1w, FLAIR and post-contrast T1w are made."""
    prepared, segmented = settings.preparation, settings.segmentation
    bias = {"BiasCorrection": plain(prepared.bias)}
    template = {"Template": plain(prepared.normalisation)}
    brain = bias | {"BrainExtraction": plain(prepared.brain)}
    tissues = brain | template | {"Tissues": plain(segmented.tissue)}
    thalamus = tissues | {"Thalamus": plain(segmented.thalamus)}
    ganglia = thalamus | {"BasalGanglia": plain(segmented.basal_ganglia)}
    return {
        "t1w": bias,
        "brain": brain,
        **dict.fromkeys(TISSUES, tissues),
        "deepgray": ganglia | {"Ventricles": plain(segmented.ventricles)},
        "small_nuclei": ganglia,
        "nuclei": thalamus,
        "thickness": tissues | {"Thickness": plain(segmented.thickness)},
        **{key: {"Lesions": plain(settings.lesions)} for key in LESIONS},
    }


def gradient_echo(settings: Settings) -> Methods:
    """Return how maps made from the gradient echo are made."""
    chosen = settings.reconstruction
    mask = {"Mask": plain(settings.mask)}
    field = {"Field": plain(chosen.fitting)}
    relaxation = {"Relaxation": plain(chosen.relaxation)}
    weights = {
        "Weights": {
            "most_residual_rad": chosen.most_residual_rad,
            "most_excess": chosen.most_excess,
        }
    }
    fluid = {"Fluid": plain(chosen.fluid), "CsfReference": plain(chosen.csf)}
    background = field | relaxation | weights | fluid | {"Background": plain(chosen.background)}
    chi = background | {"Inversion": plain(chosen.inversion)} | mask
    return {
        "r2star": relaxation,
        "t2star": relaxation,
        "total_field": field,
        "noise": field,
        "local_field": background,
        "chi": chi,
        "paramagnetic": chi,
        "diamagnetic": chi,
        "brain_gre": mask,
        "qsm_mask": mask | weights,
    }


def regions(settings: Settings) -> Methods:
    """Return how the regions on the grid of the gradient echo are made."""
    rules = settings.regions
    veins = {"Veins": plain(rules.veins)}
    return {
        "vein": veins,
        "thalamus": veins | {"Thalamus": plain(rules.thalamus)},
        "csf_reference": {"Reference": plain(rules.reference)},
        "rim": {"Rims": plain(settings.rims)},
    }


def on_scan(methods: Methods, scan: Mapping[str, Any]) -> Methods:
    """Return the methods, each with what the scan was like."""
    return {key: how | dict(scan) for key, how in methods.items()}


def with_makers(methods: Methods, sources: Mapping[str, Source]) -> Methods:
    """Return the methods; an image that is external or a reader's has its source in their place."""
    others = {key: {"Source": str(source)} for key, source in sources.items() if source != OURS}
    # A correction starts from what the methods made.
    corrected = {key for key, source in sources.items() if source.corrected}
    return methods | {
        key: (methods.get(key, {}) if key in corrected else {}) | source
        for key, source in others.items()
    }
