"""The T2 lesions: found on FLAIR, brought, or grown from a reader's seeds; then corrected."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bids_qsmthal import lesions
from bids_qsmthal.bids import external
from bids_qsmthal.core.affine import apply
from bids_qsmthal.core.image import Affine, Image, resample
from bids_qsmthal.core.sources import EDITED, OURS, SEEDED, Source

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from bids_qsmthal.bids.external import ExternalFile
    from bids_qsmthal.bids.products import Space
    from bids_qsmthal.lesions import Context, Lesions
    from bids_qsmthal.participant.stages import Stages
    from bids_qsmthal.settings import Settings

TITLE = "T2 lesions"


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
        What is known of the head, on the grid that the mask will have.
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
        return carried.like(carried.data > 0.5)


def find(
    scan: LesionScans,
    settings: Settings,
    stages: Stages,
    external_files: Mapping[str, ExternalFile],
) -> tuple[Lesions | None, Source]:
    """Return the lesions, if any could be found, and who made their mask."""
    found, source = _uncorrected(scan, settings, stages, external_files)
    if found is None or not {"lesion_add", "lesion_remove"} & set(external_files):
        return found, source
    add, remove = (
        _on_grid(external_files[key], scan) if key in external_files else None
        for key in ("lesion_add", "lesion_remove")
    )
    mask = lesions.edited(found.mask, add=add, remove=remove)
    return _known(mask, scan, found=found), replace(source, corrected=True)


def _uncorrected(
    scan: LesionScans,
    settings: Settings,
    stages: Stages,
    external_files: Mapping[str, ExternalFile],
) -> tuple[Lesions | None, Source]:
    seeds = _seeds_mm(external_files)
    finished = external_files.get("lesion")
    if finished is not None and (seeds is None or finished.source == EDITED):
        stages.skip(TITLE, f"brought by {finished.source}")
        return _known(_on_grid(finished, scan), scan), finished.source
    if scan.flair is None:
        stages.skip(TITLE, "there is no FLAIR")
        return None, OURS
    if seeds is not None:
        return _grown(seeds, scan, stages, external_files), SEEDED
    there = scan.flair_to_t1w if scan.t1w is not None else None
    return stages.run(
        TITLE,
        lesions.segment_flair,
        scan.flair,
        scan.t1w,
        scan.context,
        flair_to_t1w=there,
        settings=settings.lesions,
    ), OURS


def _grown(
    seeds_mm: NDArray[np.float64],
    scan: LesionScans,
    stages: Stages,
    external_files: Mapping[str, ExternalFile],
) -> Lesions:
    """Grow seeds on the slices of FLAIR, as a reader sees them."""
    flair = scan.flair
    assert flair is not None  # noqa: S101 - the caller has looked
    item = external_files.get("lesion_points") or external_files["lesion_seeds"]
    if item.space == "T1w":
        seeds_mm = apply(scan.world_of("FLAIR"), seeds_mm)
    grown = stages.run(
        f"{TITLE} from seeds",
        lesions.grow,
        flair,
        lesions.seeds_at(seeds_mm, flair),
        within=scan.brain_on_flair,
    )
    mask = grown.like(grown.data.astype(np.uint8))
    onto = scan.context.brain
    carried = resample(mask, onto, world=scan.world_of("FLAIR"), order=0)
    return _known(carried, scan)


def _seeds_mm(external_files: Mapping[str, ExternalFile]) -> NDArray[np.float64] | None:
    """Return the seeds in the world they were set in: rows of a table, or voxels of a mask."""
    if "lesion_points" in external_files:
        return external.points_mm(external_files["lesion_points"])
    if "lesion_seeds" in external_files:
        mask = external.load(external_files["lesion_seeds"])
        return apply(mask.affine, np.argwhere(mask.data > 0))
    return None


def _on_grid(item: ExternalFile, scan: LesionScans) -> Image:
    carried = resample(
        external.load(item), scan.context.brain, world=scan.world_of(item.space), order=0
    )
    return carried.like(carried.data > 0)


def _known(mask: Image, scan: LesionScans, *, found: Lesions | None = None) -> Lesions:
    return lesions.with_mask(
        mask, scan.context, found=found, flair=scan.flair, flair_to_t1w=scan.flair_to_t1w
    )
