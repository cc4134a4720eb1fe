"""The thalamus on the GRE grid, without its rim, veins, CSF and lesions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bids_qsmthal.qsm import Array, Mask
    from bids_qsmthal.roi.morphology import Labels, VoxelSize


@dataclass(frozen=True, slots=True, kw_only=True)
class ThalamusRule:
    """What belongs to the final thalamus.

    Attributes
    ----------
    majority
        Share of a voxel that the label must fill to be labelled at all.
    rim_share
        Share that it must fill to be kept: less is rim. Nine tenths leave at most a tenth of a
        neighbour that differs by 10-60 ppb, so no rim voxel errs by more than a few ppb.
    rim_mm
        How deep in the label the shallowest point of a kept voxel must be. Atlases differ by
        +-30 % in the volume of the thalamus, that is by about 1 mm at its border: staying inside
        is safe against a generous label. The inner part is then measured for the whole, which
        moved the number by 0.6 ppb on average in simulated participants; the table of
        sensitivity shows it with the rim.
    csf_share
        Share of CSF beyond which a voxel is not thalamus.
    remove_rim
        Leave out the rim, that is what fails ``rim_share`` or ``rim_mm``.
    exclude_lesions
        Leave out voxels in lesions, whose susceptibility is not the thalamus's own.
    minimum_share
        If fewer of the labelled voxels than this remain, the rim is kept.
    """

    majority: float = 0.5
    rim_share: float = 0.9
    rim_mm: float = 0.0
    csf_share: float = 0.25
    remove_rim: bool = True
    exclude_lesions: bool = True
    minimum_share: float = 0.3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ThalamusImages:
    """What the final thalamus is made from, all of shape (x, y, z) on the GRE grid.

    Attributes
    ----------
    share
        For each side (``L``, ``R``) the fraction of each voxel that the label fills.
    depth_mm
        For each side how deep in the label the shallowest point of each voxel is.
    usable
        Where susceptibility was reconstructed.
    veins, lesions
        What to leave out.
    csf_share
        Fraction of CSF in each voxel.
    """

    share: Mapping[str, Array]
    depth_mm: Mapping[str, Array]
    usable: Mask
    veins: Mask
    lesions: Mask
    csf_share: Array


@dataclass(frozen=True, slots=True)
class Counts:
    """Where the voxels of one thalamus went; each lost voxel is counted once, in this order."""

    labelled: int
    mask: int
    rim: int
    csf: int
    veins: int
    lesions: int
    kept: int

    @property
    def lost(self) -> int:
        """Voxels labelled and not kept."""
        return self.labelled - self.kept


@dataclass(frozen=True, slots=True, eq=False)
class Thalamus:
    """The final thalami and the stages before.

    Attributes
    ----------
    labels
        uint8, shape (x, y, z): 1 left, 2 right.
    labelled
        The same before anything was left out.
    counts
        For each side, voxels kept and lost.
    rim_removed
        False where too little would have remained.
    """

    labels: Labels
    labelled: Labels
    counts: Mapping[str, Counts]
    rim_removed: bool


SIDES = {"L": 1, "R": 2}


def thalamus(images: ThalamusImages, *, rule: ThalamusRule) -> Thalamus:
    """Return both thalami as they are measured."""
    labelled = labelled_sides(images.share, rule=rule)
    sparse = _stages(images, labelled, rule, rim=rule.remove_rim)
    # Both sides or none: one with its rim and one without would differ by the rim alone.
    rim = rule.remove_rim and all(
        (sparse[-1][1] & (labelled == side)).sum() >= rule.minimum_share * (labelled == side).sum()
        for side in SIDES.values()
    )
    stages = sparse if rim else _stages(images, labelled, rule, rim=False)
    final = np.where(stages[-1][1], labelled, 0).astype(np.uint8)
    counts = {name: _counts(stages, labelled == side) for name, side in SIDES.items()}
    return Thalamus(final, labelled, counts, rim)


def labelled_sides(share: Mapping[str, Array], *, rule: ThalamusRule) -> Labels:
    """Return 1 (left) or 2 (right) where that thalamus fills most of the voxel."""
    left, right = share["L"], share["R"]
    # Equal shares lie on the midline, where the voxel is rim and falls away.
    side: Labels = np.where(left >= right, 1, 2).astype(np.uint8)
    side[np.maximum(left, right) < rule.majority] = 0
    return side


def _stages(
    images: ThalamusImages, labelled: Labels, rule: ThalamusRule, *, rim: bool
) -> list[tuple[str, Mask]]:
    """Return what remains after each exclusion."""
    own_share = np.where(labelled == 1, images.share["L"], images.share["R"])
    own_depth = np.where(labelled == 1, images.depth_mm["L"], images.depth_mm["R"])
    core = (own_share >= rule.rim_share) & (own_depth >= rule.rim_mm)
    # A voxel that fails twice is counted under the first.
    excluded = (
        ("mask", ~images.usable),
        ("rim", ~core if rim else np.zeros_like(images.usable)),
        ("csf", images.csf_share > rule.csf_share),
        ("veins", images.veins),
        ("lesions", images.lesions & rule.exclude_lesions),
    )
    remaining: Mask = labelled > 0
    stages = [("labelled", remaining)]
    for name, bad in excluded:
        remaining = remaining & ~bad
        stages.append((name, remaining))
    return stages


def _counts(stages: list[tuple[str, Mask]], side: Mask) -> Counts:
    sizes = [int((mask & side).sum()) for _, mask in stages]
    lost = {
        name: before - after
        for (name, _), before, after in zip(stages[1:], sizes[:-1], sizes[1:], strict=True)
    }
    return Counts(labelled=sizes[0], kept=sizes[-1], **lost)


def to_slab_end_mm(thalamus: Mask, mapped: Mask, voxel_size_mm: VoxelSize) -> float:
    """Return how far a map reaches beyond the thalami along the axis where it reaches least.

    The map and not the image: slices that were padded or masked with zeros are no coverage. Where
    the brain itself ends, the thalami are far away. NaN without thalami or map.
    """
    if not (thalamus.any() and mapped.any()):
        return float("nan")
    distances_mm = []
    for axis, size_mm in enumerate(voxel_size_mm):
        others = tuple(a for a in range(3) if a != axis)
        seen, there = (np.flatnonzero(part.any(axis=others)) for part in (thalamus, mapped))
        distances_mm += [size_mm * (seen[0] - there[0]), size_mm * (there[-1] - seen[-1])]
    return float(min(distances_mm))
