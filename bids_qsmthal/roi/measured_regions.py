"""Which voxels each region is measured in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bids_qsmthal.core.labels import SIDES, of_thalamus, region
from bids_qsmthal.roi.masks import MaskSource
from bids_qsmthal.roi.reference import LABELS, ReferenceRegion
from bids_qsmthal.roi.transfer import least_depth_mm

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bids_qsmthal.core.image import Affine, Image
    from bids_qsmthal.qsm import Mask
    from bids_qsmthal.roi.inputs import Inputs, Segmentation
    from bids_qsmthal.roi.masks import Masks
    from bids_qsmthal.roi.morphology import Labels
    from bids_qsmthal.roi.regions import Regions
    from bids_qsmthal.roi.transfer import Transfer

MINIMUM_VOXELS = 10
"""A small nucleus keeps its rim if fewer voxels than this would remain."""

CORES_MM = ((0.75, 30), (0.5, MINIMUM_VOXELS), (0.25, MINIMUM_VOXELS), (0.0, MINIMUM_VOXELS))
"""How deep (mm) a voxel must lie in a nucleus to be measured, where so many voxels lie as deep.

An outline in voxels of 1 mm is half a millimetre uncertain, and what is beside a nucleus rich in
iron differs from it by 100 ppb. Settled on five heads simulated from label maps, tested on five
others (docs/anatomy.md); only large nuclei have enough voxels for the deepest.
"""

CORE_SHARE = 0.9
"""Share of a voxel that a nucleus must fill where too few lie inside as a whole."""


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredRegion:
    """A region to be measured: its voxels, and how many of its label were left out."""

    name: str
    hemisphere: str
    mask: Mask
    lost: int
    method: str
    source: MaskSource


def measured_regions(inputs: Inputs, regions: Regions, masks: Masks) -> Iterator[MeasuredRegion]:
    """Yield every region: references, thalami, other nuclei, small ones, thalamic nuclei.

    Both sides together come after each alone. One mask exists at a time; some may be empty.
    """
    everywhere = LABELS[ReferenceRegion.GLOBAL_CSF]
    yield MeasuredRegion("brain", "n/a", regions.usable, 0, inputs.method, MaskSource.QSM_MASK)
    source = masks.source["reference"]
    yield from _halves("csf_reference", masks.reference.labels, masks.reference.level.label, source)
    # A mask times the side of each voxel is a label: 1 left, 2 right.
    yield from _halves("csf_global", masks.global_csf * regions.side, everywhere, MaskSource.R2STAR)
    for half in _halves("thalamus", masks.thalamus.labels, inputs.method, masks.source["thalamus"]):
        counts = masks.thalamus.counts
        # "LR" contains both letters, so the counts of both sides add up.
        lost = sum(count.lost for side, count in counts.items() if side in half.hemisphere)
        yield replace(half, lost=lost)
    if regions.labels is None or inputs.segmentation is None:
        return
    yield from _labelled(regions, inputs.segmentation, inputs.method)
    yield from _small(regions, inputs.segmentation, inputs.method)
    if regions.nuclei is not None:
        inside = masks.thalamus.labels > 0
        names = inputs.segmentation.nuclei_names
        yield from _nuclei(regions.nuclei, names, inside, inputs.method)


def _halves(name: str, labels: Labels, method: str, source: MaskSource) -> Iterator[MeasuredRegion]:
    for hemisphere, mask in (("L", labels == 1), ("R", labels == 2), ("LR", labels > 0)):
        yield MeasuredRegion(name, hemisphere, mask, 0, method, source)


def _labelled(regions: Regions, known: Segmentation, method: str) -> Iterator[MeasuredRegion]:
    """Yield the other deep nuclei: their inner voxels, or all of them if they are tiny."""
    carried = regions.labels
    assert carried is not None  # noqa: S101 - the caller has looked
    for name, group in _grouped(carried, known.names):
        # The thalamus has a mask of its own; ventricles are what others are measured against.
        if name == "thalamus" or "ventricle" in name:
            continue
        both = np.zeros(regions.usable.shape, dtype=bool)
        total_lost = 0
        for index, hemisphere in group:
            own = np.asarray(carried.labels.data) == index
            inner = own & regions.usable & ~regions.lesions
            core = _core(inner, index, carried, known.deepgray, known.gre_to_t1w)
            mask = core if core.sum() >= MINIMUM_VOXELS else inner
            lost = int(own.sum() - mask.sum())
            yield MeasuredRegion(name, hemisphere, mask, lost, method, MaskSource.SEGMENTATION)
            both |= mask
            total_lost += lost
        if len(group) > 1:
            yield MeasuredRegion(name, "LR", both, total_lost, method, MaskSource.SEGMENTATION)


def _core(inner: Mask, index: int, carried: Transfer, source: Image, gre_to_t1w: Affine) -> Mask:
    """Return the voxels that lie in a label as deep as enough of them do.

    Where too few lie inside as a whole, those that it fills by ``CORE_SHARE``.
    """
    label = source.like(np.asarray(source.data) == index)
    depth_mm = least_depth_mm(label, carried.labels, world=gre_to_t1w)
    for depth, enough in CORES_MM:
        core = inner & (depth_mm >= depth)
        if core.sum() >= enough:
            return np.asarray(core)
    return np.asarray(inner & (carried.fraction(index) >= CORE_SHARE))


def small_cores(regions: Regions, known: Segmentation) -> Iterator[tuple[str, str, Mask, Mask]]:
    """Yield name, side, label and core of each small nucleus that no label of FreeSurfer shows.

    The core is what lies inside (``CORES_MM``), outside of lesions. These nuclei are thinner
    than two voxels of a coarse scan, and their neighbours differ by 100 ppb: a rim would be
    measured, not the nucleus.
    """
    carried = regions.small_nuclei
    if carried is None or regions.small_source is None or regions.labels is None:
        return
    drawn = {name for name, _ in _grouped(regions.labels, known.names)}
    for name, group in _grouped(carried, known.small_nuclei_names):
        # Labels of other programs, or of a reader, go before the warped atlas.
        if name in drawn:
            continue
        for index, hemisphere in group:
            own = np.asarray(carried.labels.data) == index
            inner = own & regions.usable & ~regions.lesions
            core = _core(inner, index, carried, regions.small_source, known.gre_to_t1w)
            yield name, hemisphere, own, core


def _small(regions: Regions, known: Segmentation, method: str) -> Iterator[MeasuredRegion]:
    """Yield the small nuclei that the voxels resolve; both sides only where each is resolved."""
    sides: dict[str, list[MeasuredRegion]] = {}
    for name, hemisphere, own, core in small_cores(regions, known):
        if core.sum() < MINIMUM_VOXELS:
            continue
        lost = int(own.sum() - core.sum())
        found = MeasuredRegion(name, hemisphere, core, lost, method, MaskSource.SEGMENTATION)
        yield found
        sides.setdefault(name, []).append(found)
    for found_sides in sides.values():
        if len(found_sides) == len(SIDES):
            left, right = found_sides
            yield replace(
                left, hemisphere="LR", mask=left.mask | right.mask, lost=left.lost + right.lost
            )


def unresolved(regions: Regions, known: Segmentation) -> tuple[tuple[str, str], ...]:
    """Return name and side of each small nucleus with fewer than ``MINIMUM_VOXELS`` in its core."""
    return tuple(
        (name, hemisphere)
        for name, hemisphere, _, core in small_cores(regions, known)
        if core.sum() < MINIMUM_VOXELS
    )


def _nuclei(
    carried: Transfer, names: Mapping[int, str], inside: Mask, method: str
) -> Iterator[MeasuredRegion]:
    """Yield the thalamic nuclei within the final thalamus."""
    for nucleus, group in _grouped(carried, names):
        name = of_thalamus(nucleus)
        both = np.zeros(inside.shape, dtype=bool)
        total_lost = 0
        for index, hemisphere in group:
            own = np.asarray(carried.labels.data) == index
            # No core here: a nucleus is often a few voxels wide, and the final thalamus has no rim,
            # no veins and no fluid any more.
            mask = own & inside
            lost = int(own.sum() - mask.sum())
            yield MeasuredRegion(name, hemisphere, mask, lost, method, MaskSource.SEGMENTATION)
            both |= mask
            total_lost += lost
        if len(group) > 1:
            yield MeasuredRegion(name, "LR", both, total_lost, method, MaskSource.SEGMENTATION)


def _grouped(
    carried: Transfer, names: Mapping[int, str]
) -> list[tuple[str, list[tuple[int, str]]]]:
    """Return for each region name its labels and their sides, left before right."""
    groups: dict[str, list[tuple[int, str]]] = {}
    for index in sorted(carried.shares):
        what = region(index, names)
        groups.setdefault(what.name, []).append((index, what.hemisphere))
    return list(groups.items())
