"""The head: everything made from T1w, FLAIR and post-contrast T1w."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from bids_qsmthal import anatomy, lesions
from bids_qsmthal.bids import external
from bids_qsmthal.core.labels import ATLAS_REGIONS, TABLE
from bids_qsmthal.core.sources import OURS
from bids_qsmthal.participant import external_labels, input_checks, lesion_mask, morphometry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bids_qsmthal.anatomy import Anatomy, Prepared, Rigid
    from bids_qsmthal.bids.dataset import Session
    from bids_qsmthal.bids.external import ExternalFile
    from bids_qsmthal.core.image import Image
    from bids_qsmthal.core.scan_warnings import ScanWarning
    from bids_qsmthal.core.sources import Source
    from bids_qsmthal.lesions import Context, Enhancement, Lesions
    from bids_qsmthal.participant.morphometry import Number
    from bids_qsmthal.participant.stages import Stages
    from bids_qsmthal.settings import Settings

CEREBELLUM = dict(
    zip(ATLAS_REGIONS.pair("cerebellum"), TABLE.pair("cerebellar_cortex"), strict=True)
)
"""FreeSurfer's cerebellar cortex, left and right, for the regions of the atlas."""

STAGES = 6
"""How many stages this part has, whether they run or are left out."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Structural:
    """What is known of a head without its gradient echo; what was not scanned is ``None``.

    Attributes
    ----------
    brain
        On the grid of T1w.
    lesions
        As they are used: found here, grown from seeds, corrected, or brought.
    numbers
        Volumes and thickness, each with who measured it.
    sources
        Who made what was brought, by product.
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


def find(
    session: Session, settings: Settings, stages: Stages, external_files: Mapping[str, ExternalFile]
) -> Structural:
    """Segment what was scanned; what was brought takes the place of a stage."""
    t1w, flair, ce_t1w = (
        input_checks.structural(path) if path else None
        for path in (session.t1w, session.flair, session.t1w_gad)
    )
    sources = {key: item.source for key, item in external_files.items()}
    if t1w is None:
        found = _without_t1w(flair, settings, stages, external_files)
        return replace(
            found,
            flair=flair,
            ce_t1w=ce_t1w,
            numbers=morphometry.numbers(session, None, external_files),
            sources={**sources, **found.sources},
        )
    prepared = stages.run(
        "T1w: bias field, brain, template",
        anatomy.prepare,
        t1w,
        settings=settings.preparation,
        brain=external_labels.mask("brain", external_files, t1w),
        seed=settings.seed,
    )
    labels = external_labels.labels(external_files, prepared)
    context = lesion_context(prepared)
    flair_to_t1w = rigid("FLAIR to T1w", prepared, flair, settings, stages)
    spots, maker = lesion_mask.find(
        lesion_mask.LesionScans(
            flair=flair,
            t1w=prepared.t1w,
            context=context,
            flair_to_t1w=flair_to_t1w.matrix if flair_to_t1w else np.eye(4),
        ),
        *(settings, stages, external_files),
    )
    segmented = stages.run(
        "tissue, deep gray nuclei, cortical thickness",
        anatomy.segment,
        prepared,
        spots.mask if spots else None,
        settings=settings.segmentation,
        external=labels,
    )
    ce_to_t1w = rigid("post-contrast T1w to T1w", prepared, ce_t1w, settings, stages)
    return Structural(
        t1w=t1w,
        flair=flair,
        ce_t1w=ce_t1w,
        prepared=prepared,
        anatomy=segmented,
        lesions=spots,
        enhancement=_brought_enhancement(context, stages, external_files)
        or _enhancement(prepared.t1w, ce_t1w, ce_to_t1w, spots, context, stages),
        flair_to_t1w=flair_to_t1w,
        ce_to_t1w=ce_to_t1w,
        numbers=morphometry.numbers(session, segmented, external_files),
        sources=sources | _lesion_source(maker),
        external_warnings=external_labels.label_warnings(external_files, labels, prepared),
    )


def _without_t1w(
    flair: Image | None,
    settings: Settings,
    stages: Stages,
    external_files: Mapping[str, ExternalFile],
) -> Structural:
    """Lesions need FLAIR alone; nothing else can be found without T1w."""
    stages.skip("T1w, tissue, deep gray nuclei, cortical thickness", "there is no T1w", count=2)
    spots, maker = None, OURS
    grid = flair if flair is not None else _grid_of("lesion", external_files)
    if grid is None:
        stages.skip("T2 lesions", "there is no FLAIR", count=2)
    else:
        brain = _brain_without_t1w(flair, grid, stages, external_files)
        scan = lesion_mask.LesionScans(
            flair=flair, t1w=None, context=lesions.Context(brain=brain), flair_to_t1w=np.eye(4)
        )
        spots, maker = lesion_mask.find(scan, settings, stages, external_files)
    stages.skip("enhancing lesions", "there is no T1w before contrast agent", count=2)
    return Structural(lesions=spots, sources=_lesion_source(maker))


def _lesion_source(maker: Source) -> dict[str, Source]:
    """Return the source of the lesion mask by its key; nothing where it is ours."""
    return {} if maker == OURS else {"lesion": maker}


def _grid_of(key: str, external_files: Mapping[str, ExternalFile]) -> Image | None:
    return external.load(external_files[key]) if key in external_files else None


def _brain_without_t1w(
    flair: Image | None, grid: Image, stages: Stages, external_files: Mapping[str, ExternalFile]
) -> Image:
    """Find the brain in FLAIR; lesions that were brought alone are counted wherever they are."""
    if flair is None or "lesion" in external_files:
        stages.skip("brain in FLAIR", "lesions were brought")
        return grid.like(np.ones(grid.shape, dtype=np.bool_))
    return stages.run("brain in FLAIR", anatomy.brain_mask, flair)


def rigid(
    title: str, prepared: Prepared, moving: Image | None, settings: Settings, stages: Stages
) -> Rigid | None:
    """Register a scan to T1w by the brains in both."""
    if moving is None:
        stages.skip(title, "it was not scanned")
        return None
    return stages.run(
        title, anatomy.rigid_brains, prepared.t1w, moving, prepared.brain, seed=settings.seed
    )


def _brought_enhancement(
    context: Context, stages: Stages, external_files: Mapping[str, ExternalFile]
) -> Enhancement | None:
    mask = external_labels.mask("enhancing", external_files, context.brain)
    if mask is None:
        return None
    stages.skip("enhancing lesions", f"brought by {external_files['enhancing'].source}")
    return lesions.enhancement_of(mask, context)


def _enhancement(
    t1w: Image,
    ce_t1w: Image | None,
    rigid: Rigid | None,
    found: Lesions | None,
    context: Context,
    stages: Stages,
) -> Enhancement | None:
    if ce_t1w is None or rigid is None:
        stages.skip("enhancing lesions", "there is no post-contrast T1w")
        return None
    return stages.run(
        "enhancing lesions",
        lesions.find_enhancing,
        t1w,
        ce_t1w,
        found,
        context,
        ce_to_t1w=rigid.matrix,
    )


def lesion_context(prepared: Prepared) -> Context:
    """Hand over what the lesions need, the cerebellum among the labels."""
    labels = prepared.labels.data.astype(np.int16)
    for region, label in CEREBELLUM.items():
        labels[(prepared.regions.data == region) & (labels == 0)] = label
    return lesions.Context(
        brain=prepared.brain,
        prior_gm=prepared.prior_gm,
        prior_wm=prepared.prior_wm,
        prior_csf=prepared.prior_csf,
        labels=prepared.labels.like(labels),
    )
