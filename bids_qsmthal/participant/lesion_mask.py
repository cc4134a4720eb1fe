"""The T2 lesions: segmented on FLAIR, external, or grown from a reader's seeds; then corrected."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bids_qsmthal import lesions
from bids_qsmthal.core.affine import apply
from bids_qsmthal.core.image import Affine, Image, resample
from bids_qsmthal.core.sources import OURS, SEEDED, Source
from bids_qsmthal.participant import external_labels
from bids_qsmthal.participant.pipeline import T2_LESIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from bids_qsmthal.bids.external import External
    from bids_qsmthal.bids.products import Space
    from bids_qsmthal.lesions import Context, Lesions
    from bids_qsmthal.participant.runner import Runner
    from bids_qsmthal.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LesionScans:
    """Where lesions are looked for.

    Attributes
    ----------
    flair
        ``None`` if it was not scanned.
    t1w
        ``None`` if there is none; then all is on the grid of FLAIR.
    context
        Brain, and tissues where they are known, on the grid that the mask will have.
    flair_to_t1w
        4x4 matrix, a point of FLAIR's world to the world of that grid.
    """

    flair: Image | None
    t1w: Image | None
    context: Context
    flair_to_t1w: Affine

    def world_of(self, space: Space) -> Affine:
        """Return the map from a point of the grid's world to the world of a scan."""
        if space == "FLAIR" or self.t1w is None:
            # flair_to_t1w takes points of FLAIR along. Resampling asks where a point of the grid
            # lies in FLAIR, which is the other way.
            inverse: Affine = np.linalg.inv(self.flair_to_t1w).astype(np.float64)
            return inverse
        return np.eye(4)

    @property
    def brain_on_flair(self) -> Image:
        """The brain on the grid of FLAIR."""
        brain = self.context.brain
        assert self.flair is not None  # noqa: S101 - asked for where there is one
        share = brain.like(brain.data.astype(np.float32))
        carried = resample(share, self.flair, world=self.flair_to_t1w)
        # Half of a voxel: that keeps the volume of the mask.
        return carried.like(carried.data > 0.5)


@dataclass(frozen=True, slots=True, eq=False)
class LesionMask:
    """The T2 lesions and who made their mask."""

    lesions: Lesions
    source: Source = OURS


def lesion_mask(
    scans: LesionScans, settings: Settings, runner: Runner, external: Mapping[str, External]
) -> LesionMask | None:
    """Return the lesions: external, grown from seeds, or segmented; then corrected.

    ``None`` where nothing shows them.
    """
    made = _uncorrected(scans, settings, runner, external)
    add, remove = (_on_grid(key, scans, external) for key in ("lesion_add", "lesion_remove"))
    if made is None or (add is None and remove is None):
        return made
    mask = lesions.edited_mask(made.lesions.mask, add=add, remove=remove)
    # Counted anew: an edit may split or join lesions.
    counted = _counted(mask, scans, uncorrected=made.lesions)
    return LesionMask(counted, replace(made.source, corrected=True))


def _uncorrected(
    scans: LesionScans, settings: Settings, runner: Runner, external: Mapping[str, External]
) -> LesionMask | None:
    # Of a finished mask and seeds bids.external leaves one. A mask needs no FLAIR, seeds do.
    finished = _on_grid("lesion", scans, external)
    if finished is not None:
        return LesionMask(_counted(finished, scans), external["lesion"].source)
    if scans.flair is None:
        return None
    seeds = external.get("lesion_points") or external.get("lesion_seeds")
    if seeds is not None:
        return LesionMask(_grown(_seeds_mm(seeds), seeds.file.space, scans, runner), SEEDED)
    segmented = runner.run(
        T2_LESIONS,
        lesions.segment_flair,
        scans.flair,
        scans.t1w,
        scans.context,
        flair_to_t1w=scans.flair_to_t1w if scans.t1w is not None else None,
        settings=settings.lesions,
    )
    return LesionMask(segmented)


def _grown(
    seeds_mm: NDArray[np.float64], space: Space, scans: LesionScans, runner: Runner
) -> Lesions:
    """Grow seeds on the slices of FLAIR, as a reader sees them."""
    flair = scans.flair
    assert flair is not None  # noqa: S101 - the caller has looked
    # Seeds set on T1w are looked up on FLAIR, where they grow.
    if space == "T1w":
        seeds_mm = apply(scans.world_of("FLAIR"), seeds_mm)
    grown = runner.run(
        T2_LESIONS,
        lesions.grow,
        flair,
        lesions.seeds_at(seeds_mm, flair),
        within=scans.brain_on_flair,
    )
    mask = grown.like(grown.data.astype(np.uint8))
    onto = scans.context.brain
    # The nearest voxel: the grown mask is a decision for each voxel of FLAIR.
    carried = resample(mask, onto, world=scans.world_of("FLAIR"), order=0)
    return _counted(carried, scans)


def _seeds_mm(seeds: External) -> NDArray[np.float64]:
    """Return the seeds in the world they were set in: rows of a table, or voxels of a mask."""
    if seeds.points_mm is not None:
        return seeds.points_mm
    return apply(seeds.image.affine, np.argwhere(seeds.image.data > 0))


def _on_grid(key: str, scans: LesionScans, external: Mapping[str, External]) -> Image | None:
    if key not in external:
        return None
    world = scans.world_of(external[key].file.space)
    return external_labels.mask(key, external, scans.context.brain, world=world)


def _counted(mask: Image, scans: LesionScans, *, uncorrected: Lesions | None = None) -> Lesions:
    return lesions.lesions_of_mask(
        mask, scans.context, found=uncorrected, flair=scans.flair, flair_to_t1w=scans.flair_to_t1w
    )
