"""The head: everything made from T1w, FLAIR and post-contrast T1w."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from bids_qsmthal import anatomy, lesions, nifti
from bids_qsmthal.image import Image, resample
from bids_qsmthal.participant import inputs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bids_qsmthal.anatomy import Anatomy, Prepared, Rigid
    from bids_qsmthal.brought import Brought
    from bids_qsmthal.dataset import Session
    from bids_qsmthal.lesions import Context, Enhancement, Lesions
    from bids_qsmthal.settings import Settings
    from bids_qsmthal.stages import Stages

THALAMI = (10, 49)
"""FreeSurfer's labels of the left and the right thalamus."""

CEREBELLUM = {3: 8, 4: 47}
"""FreeSurfer's cerebellar cortex, left and right, for the regions of the atlas."""

STAGES = 6
"""How many stages this part has, whether they run or are left out."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Head:
    """What is known of a head without its gradient echo; what was not scanned is ``None``.

    Attributes
    ----------
    brain
        On the grid of T1w.
    lesion_mask, deepgray
        As they are used: found here, or brought by the user.
    sources
        Who made what was brought, by product.
    """

    t1w: Image | None = None
    flair: Image | None = None
    ce_t1w: Image | None = None
    prepared: Prepared | None = None
    anatomy: Anatomy | None = None
    lesions: Lesions | None = None
    lesion_mask: Image | None = None
    enhancement: Enhancement | None = None
    flair_to_t1w: Rigid | None = None
    ce_to_t1w: Rigid | None = None
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the stages want the user to know."""
        parts = (
            *(self.prepared, self.anatomy, self.lesions, self.enhancement),
            *(self.flair_to_t1w, self.ce_to_t1w),
        )
        return tuple(dict.fromkeys(said for part in parts if part for said in part.warnings))


def find(
    session: Session, settings: Settings, stages: Stages, replaced: Mapping[str, Brought]
) -> Head:
    """Segment what was scanned; what was brought takes the place of a stage."""
    t1w, flair, ce_t1w = (
        inputs.structural(path) if path else None
        for path in (session.t1w, session.flair, session.t1w_gad)
    )
    if t1w is None:
        return _without_t1w(flair, ce_t1w, stages, replaced)
    prepared = stages.run(
        "T1w: bias field, brain, template",
        anatomy.prepare,
        t1w,
        settings=settings.preparation,
        brain=_brought("brain", replaced, t1w, masks=True),
        seed=settings.seed,
    )
    context = _context(prepared)
    flair_to_t1w = rigid("FLAIR to T1w", prepared, flair, settings, stages)
    found = _lesions(prepared, flair, flair_to_t1w, settings, stages)
    lesion_mask = _brought("lesion", replaced, t1w, masks=True) or (found.mask if found else None)
    segmented = stages.run(
        "tissue, deep gray nuclei, cortical thickness",
        anatomy.segment,
        prepared,
        lesion_mask,
        settings=settings.segmentation,
    )
    ce_to_t1w = rigid("post-contrast T1w to T1w", prepared, ce_t1w, settings, stages)
    return Head(
        t1w=t1w,
        flair=flair,
        ce_t1w=ce_t1w,
        prepared=prepared,
        anatomy=_with_brought(segmented, replaced, t1w),
        lesions=found,
        lesion_mask=lesion_mask,
        enhancement=_enhancement(prepared.t1w, ce_t1w, ce_to_t1w, found, context, stages),
        flair_to_t1w=flair_to_t1w,
        ce_to_t1w=ce_to_t1w,
        sources={key: item.source for key, item in replaced.items()},
    )


def _without_t1w(
    flair: Image | None, ce_t1w: Image | None, stages: Stages, replaced: Mapping[str, Brought]
) -> Head:
    """Lesions need FLAIR alone; nothing else can be found without T1w."""
    stages.skip("T1w, tissue, deep gray nuclei, cortical thickness", "there is no T1w", count=2)
    found = None
    if flair is None:
        stages.skip("T2 lesions", "there is no FLAIR", count=2)
    else:
        brain = stages.run("brain in FLAIR", anatomy.brain_mask, flair)
        found = stages.run(
            "T2 lesions", lesions.segment_flair, flair, None, lesions.Context(brain=brain)
        )
    stages.skip("enhancing lesions", "there is no T1w before contrast agent", count=2)
    return Head(
        flair=flair,
        ce_t1w=ce_t1w,
        lesions=found,
        lesion_mask=_alone("lesion", replaced) or (found.mask if found else None),
        sources={key: item.source for key, item in replaced.items()},
    )


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


def _lesions(
    prepared: Prepared,
    flair: Image | None,
    rigid: Rigid | None,
    settings: Settings,
    stages: Stages,
) -> Lesions | None:
    if flair is None or rigid is None:
        stages.skip("T2 lesions", "there is no FLAIR")
        return None
    return stages.run(
        "T2 lesions",
        lesions.segment_flair,
        flair,
        prepared.t1w,
        _context(prepared),
        flair_to_t1w=rigid.matrix,
        settings=settings.lesions,
    )


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


def _context(prepared: Prepared) -> Context:
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


def _with_brought(found: Anatomy, replaced: Mapping[str, Brought], t1w: Image) -> Anatomy:
    """Put a segmentation that was brought in the place of ours."""
    labels = _brought("deepgray", replaced, t1w)
    if labels is None:
        return found
    left, right = (labels.like((labels.data == side).astype(np.float32)) for side in THALAMI)
    voxel_mm3 = labels.voxel_volume_mm3
    volumes = {
        "thalamus_L": float(left.data.sum()) * voxel_mm3,
        "thalamus_R": float(right.data.sum()) * voxel_mm3,
    }
    volumes["thalamus_LR"] = volumes["thalamus_L"] + volumes["thalamus_R"]
    return replace(
        found,
        deepgray=labels,
        thalamus_probability=(left, right),
        volumes_mm3=found.volumes_mm3 | volumes,
    )


def _brought(
    key: str, replaced: Mapping[str, Brought], onto: Image, *, masks: bool = False
) -> Image | None:
    """Load what was brought onto a grid of the same world."""
    item = _alone(key, replaced)
    if item is None:
        return None
    labels = resample(item, onto, order=0)
    return labels.like(labels.data > 0) if masks else labels


def _alone(key: str, replaced: Mapping[str, Brought]) -> Image | None:
    return nifti.load(replaced[key].path, dtype=np.int16) if key in replaced else None
