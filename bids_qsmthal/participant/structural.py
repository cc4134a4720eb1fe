"""Everything that is made from T1w, FLAIR and post-contrast T1w."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from bids_qsmthal import anatomy, lesions
from bids_qsmthal.core.labels import ATLAS_REGIONS, TABLE
from bids_qsmthal.core.sources import OURS
from bids_qsmthal.participant import external_labels, lesion_mask, morphometry
from bids_qsmthal.participant.pipeline import (
    BRAIN_IN_FLAIR,
    CE_T1W_TO_T1W,
    ENHANCING_LESIONS,
    FLAIR_TO_T1W,
    GRE_TO_T1W,
    PREPARE_T1W,
    SEGMENT_T1W,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bids_qsmthal.anatomy import Anatomy, Prepared, Rigid
    from bids_qsmthal.bids.external import External
    from bids_qsmthal.core.image import Image
    from bids_qsmthal.core.scan_warnings import ScanWarning
    from bids_qsmthal.core.sources import Source
    from bids_qsmthal.lesions import Context, Enhancement, Lesions
    from bids_qsmthal.participant.input_checks import LoadedInputs
    from bids_qsmthal.participant.lesion_mask import LesionMask
    from bids_qsmthal.participant.morphometry import Number
    from bids_qsmthal.participant.pipeline import Stage
    from bids_qsmthal.participant.runner import Runner
    from bids_qsmthal.settings import Settings

CEREBELLUM = dict(
    zip(ATLAS_REGIONS.pair("cerebellum"), TABLE.pair("cerebellar_cortex"), strict=True)
)
"""FreeSurfer's cerebellar cortex, left and right, for the regions of the atlas."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Structural:
    """What is known without the gradient echo; what was not scanned is ``None``.

    Attributes
    ----------
    brain
        On the grid of T1w.
    lesions
        As they are used: segmented here, external, grown from seeds, or corrected.
    numbers
        Volumes and thickness, each with who measured it.
    sources
        Who made the external results, by product.
    external_warnings
        What is odd about external labels.
    """

    t1w: Image | None = None
    flair: Image | None = None
    ce_t1w: Image | None = None
    prepared: Prepared | None = None
    anatomy: Anatomy | None = None
    lesions: Lesions | None = None
    enhancement: Enhancement | None = None
    flair_to_t1w: Rigid | None = None
    ce_to_t1w: Rigid | None = None
    numbers: tuple[Number, ...] = ()
    sources: Mapping[str, Source] = field(default_factory=dict)
    external_warnings: tuple[ScanWarning, ...] = ()

    @property
    def lesion_mask(self) -> Image | None:
        """The T2 lesions."""
        return self.lesions.mask if self.lesions else None

    @property
    def thickness_mm(self) -> Image | None:
        """Our map of the cortex; ``None`` where another program measured its thickness."""
        ours = any(number.method is morphometry.Method.RIBBON for number in self.numbers)
        return self.anatomy.thickness_mm if self.anatomy is not None and ours else None

    @property
    def warnings(self) -> tuple[ScanWarning, ...]:
        """What the stages want the user to know."""
        parts = (
            *(self.prepared, self.anatomy, self.lesions, self.enhancement),
            *(self.flair_to_t1w, self.ce_to_t1w),
        )
        warnings = (warning for part in parts if part for warning in part.warnings)
        return tuple(dict.fromkeys((*warnings, *self.external_warnings)))


def structural_results(inputs: LoadedInputs, settings: Settings, runner: Runner) -> Structural:
    """Return what the structural scans give; external results take the place of stages."""
    if inputs.t1w is None:
        made = _without_t1w(inputs, settings, runner)
    else:
        made = _with_t1w(inputs, inputs.t1w, settings, runner)
    external = inputs.external
    return replace(
        made,
        t1w=inputs.t1w,
        flair=inputs.flair,
        ce_t1w=inputs.ce_t1w,
        numbers=morphometry.numbers(made.anatomy, external),
        # Those of stages last: a mask that was grown or corrected has another source than its file.
        sources={key: item.source for key, item in external.items()} | dict(made.sources),
    )


def _with_t1w(inputs: LoadedInputs, t1w: Image, settings: Settings, runner: Runner) -> Structural:
    prepared = runner.run(
        PREPARE_T1W,
        anatomy.prepare,
        t1w,
        settings=settings.preparation,
        brain=external_labels.mask("brain", inputs.external, t1w),
        seed=settings.seed,
    )
    labels = external_labels.labels(inputs.external, prepared)
    # Lesions before tissues: they are filled before tissues are classified, for on T1w they look
    # like gray matter.
    context = lesion_context(prepared)
    flair_to_t1w = registered(FLAIR_TO_T1W, prepared, inputs.flair, settings, runner)
    mask = lesion_mask.lesion_mask(
        lesion_mask.LesionScans(
            flair=inputs.flair,
            t1w=prepared.t1w,
            context=context,
            flair_to_t1w=flair_to_t1w.matrix if flair_to_t1w else np.eye(4),
        ),
        *(settings, runner, inputs.external),
    )
    segmented = runner.run(
        SEGMENT_T1W,
        anatomy.segment,
        prepared,
        mask.lesions.mask if mask else None,
        settings=settings.segmentation,
        external=labels,
    )
    ce_to_t1w = registered(CE_T1W_TO_T1W, prepared, inputs.ce_t1w, settings, runner)
    t2_lesions = mask.lesions if mask else None
    return Structural(
        prepared=prepared,
        anatomy=segmented,
        lesions=t2_lesions,
        # An Enhancement is always true, also without lesions: only a missing one falls to the
        # stage.
        enhancement=_external_enhancement(context, inputs.external)
        or _enhancement(prepared.t1w, inputs.ce_t1w, ce_to_t1w, t2_lesions, context, runner),
        flair_to_t1w=flair_to_t1w,
        ce_to_t1w=ce_to_t1w,
        sources=_source(mask),
        external_warnings=external_labels.label_warnings(inputs.external, labels, prepared),
    )


def _without_t1w(inputs: LoadedInputs, settings: Settings, runner: Runner) -> Structural:
    """Lesions need FLAIR alone; nothing else can be known without T1w."""
    external_lesions = inputs.external.get("lesion")
    grid = inputs.flair or (external_lesions.image if external_lesions else None)
    if grid is None:
        return Structural()
    mask = lesion_mask.lesion_mask(
        lesion_mask.LesionScans(
            flair=inputs.flair,
            t1w=None,
            context=lesions.Context(brain=_brain_without_t1w(grid, runner)),
            flair_to_t1w=np.eye(4),
        ),
        *(settings, runner, inputs.external),
    )
    return Structural(lesions=mask.lesions if mask else None, sources=_source(mask))


def _brain_without_t1w(grid: Image, runner: Runner) -> Image:
    """Return the brain in FLAIR; external lesions alone are counted wherever they are."""
    if runner.runs(BRAIN_IN_FLAIR):
        return runner.run(BRAIN_IN_FLAIR, anatomy.brain_mask, grid)
    return grid.like(np.ones(grid.shape, dtype=np.bool_))


def _source(mask: LesionMask | None) -> dict[str, Source]:
    """Return the source of the lesion mask by its key; nothing where it is ours."""
    return {} if mask is None or mask.source == OURS else {"lesion": mask.source}


def registered(
    stage: Stage, prepared: Prepared, moving: Image | None, settings: Settings, runner: Runner
) -> Rigid | None:
    """Return the registration of a scan to T1w by the brains in both; ``None`` without a scan."""
    if moving is None:
        return None
    # FLAIR and T1w come even from the scanner; a gradient echo keeps the gain of its coils.
    return runner.run(
        stage,
        anatomy.rigid_brains,
        prepared.t1w,
        moving,
        prepared.brain,
        uneven=stage is GRE_TO_T1W,
        seed=settings.seed,
    )


def _external_enhancement(context: Context, external: Mapping[str, External]) -> Enhancement | None:
    mask = external_labels.mask("enhancing", external, context.brain)
    return None if mask is None else lesions.enhancement_of(mask, context)


def _enhancement(
    t1w: Image,
    ce_t1w: Image | None,
    ce_to_t1w: Rigid | None,
    t2_lesions: Lesions | None,
    context: Context,
    runner: Runner,
) -> Enhancement | None:
    if ce_t1w is None or ce_to_t1w is None:
        return None
    return runner.run(
        ENHANCING_LESIONS,
        lesions.find_enhancing,
        t1w,
        ce_t1w,
        t2_lesions,
        context,
        ce_to_t1w=ce_to_t1w.matrix,
    )


def lesion_context(prepared: Prepared) -> Context:
    """Hand over what the lesions need, the cerebellum among the labels."""
    labels = prepared.labels.data.astype(np.int16)
    for region, label in CEREBELLUM.items():
        # Nuclei keep their labels; the cerebellum takes what has none.
        labels[(prepared.regions.data == region) & (labels == 0)] = label
    return lesions.Context(
        brain=prepared.brain,
        prior_gm=prepared.prior_gm,
        prior_wm=prepared.prior_wm,
        prior_csf=prepared.prior_csf,
        labels=prepared.labels.like(labels),
    )
