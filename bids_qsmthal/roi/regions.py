"""Everything known about regions, carried to the GRE grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bids_qsmthal.core.image import Affine, Image, resample
from bids_qsmthal.core.labels import ATLAS, LATERAL_VENTRICLE, SIDES, TABLE, THALAMUS, Group, region
from bids_qsmthal.roi import transfer
from bids_qsmthal.roi.midbrain import groups_of, settled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bids_qsmthal.qsm import Array, Mask
    from bids_qsmthal.roi.inputs import Inputs, Segmentation
    from bids_qsmthal.roi.morphology import Labels

IRON_RICH = TABLE.members(Group.IRON_RICH)
"""Neighbours of the thalamus that are as bright as a half-filled vein voxel."""

TISSUE_CSF = 0.3
"""A voxel with a smaller share of CSF counts as tissue where midbrain nuclei are sought."""

VENTRICLES = ATLAS.indices(Group.VENTRICLES)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Regions:
    """Regions on the GRE grid; arrays of shape (x, y, z).

    Attributes
    ----------
    usable
        Where susceptibility was reconstructed and is finite.
    side
        1 left of the midplane, 2 right of it, everywhere.
    labels
        Deep gray nuclei and ventricles; None without a segmentation.
    nuclei
        Thalamic nuclei; None if not segmented.
    small_nuclei, small_source
        Parts of the pallidum and nuclei of the midbrain, the latter moved to where the map shows
        them; the same on the T1w grid. None if not segmented.
    share, depth_mm
        Of each thalamus (``L``, ``R``): fraction of each voxel, depth of its shallowest point.
    atria_depth_mm, ventricles_depth_mm
        The same depth in both atria and in both lateral ventricles; None if not labelled.
    csf_share, csf_probability
        Fraction of CSF near the thalami, and everywhere if a map of it was given.
    lesions, vein_prior
        Lesions; probability of a vein or None.
    iron_rich
        Bright neighbours of the thalamus.
    """

    usable: Mask
    side: Labels
    share: Mapping[str, Array]
    depth_mm: Mapping[str, Array]
    lesions: Mask
    csf_share: Array
    iron_rich: Mask
    labels: transfer.Transfer | None = None
    nuclei: transfer.Transfer | None = None
    small_nuclei: transfer.Transfer | None = None
    small_source: Image | None = None
    atria_depth_mm: Array | None = None
    ventricles_depth_mm: Array | None = None
    csf_probability: Array | None = None
    vein_prior: Array | None = None


def regions_on_gre(inputs: Inputs) -> Regions:
    """Carry every label and probability to the GRE grid."""
    chi = inputs.chi_ppm
    usable = np.asarray(inputs.qsm_mask.data) > 0
    if inputs.segmentation is None:
        return _without_segmentation(inputs, usable)
    known = inputs.segmentation
    world = known.gre_to_t1w
    carried = transfer.labels(known.deepgray, chi, world=world)
    share = _thalamus_shares(known, carried, chi)
    probability = _sampled(known.csf_probability, chi, world)
    csf_share = carried.fraction(*VENTRICLES)
    if probability is not None:
        # Sulci and cisterns have no label; the ventricles' labels are sharper than the probability.
        csf_share = np.maximum(csf_share, probability)
    lesions = _lesions(known, chi)
    small = None
    if known.small_nuclei is not None:
        # Tissue without a label, or the brainstem, whose label reaches up to these nuclei.
        bare = np.isin(carried.labels.data, (0, ATLAS.index("brainstem")))
        tissue = usable & bare & ~lesions & (csf_share < TISSUE_CSF)
        small = settled(known.small_nuclei, groups_of(known.small_nuclei_names), chi, tissue, world)
    return Regions(
        usable=usable,
        side=_side(*_left_and_right(carried), usable, chi),
        share=share,
        depth_mm={
            name: _depth(known, (index,), chi) for name, index in zip(SIDES, THALAMUS, strict=True)
        },
        lesions=lesions,
        csf_share=csf_share,
        iron_rich=_iron_rich(known, carried),
        labels=carried,
        nuclei=None if known.nuclei is None else transfer.labels(known.nuclei, chi, world=world),
        small_nuclei=None if small is None else transfer.labels(small, chi, world=world),
        small_source=small,
        atria_depth_mm=_atria_depth(known, chi),
        ventricles_depth_mm=_depth(known, LATERAL_VENTRICLE, chi),
        csf_probability=probability,
        vein_prior=_sampled(known.vein_prior, chi, world),
    )


def posterior_third(deepgray: Image) -> Image:
    """Return the atria, 1 left and 2 right: the posterior third of each lateral ventricle.

    The third is taken along the world's posterior-anterior axis; it holds the trigone, where
    body and horns meet, and what there is of an occipital horn, which erosion removes.
    """
    atria = np.zeros(deepgray.shape, dtype=np.uint8)
    for side, index in enumerate(LATERAL_VENTRICLE, start=1):
        voxels = np.argwhere(np.asarray(deepgray.data) == index)
        if voxels.size:
            # Row 1 of the affine gives the world's y, which grows towards the front (RAS+). Its
            # offset is left out, for it cancels in the comparison below.
            forward_mm = voxels @ deepgray.affine[1, :3]
            edge_mm = forward_mm.min() + (forward_mm.max() - forward_mm.min()) / 3
            atria[tuple(voxels[forward_mm <= edge_mm].T)] = side
    return deepgray.like(atria)


def _thalamus_shares(
    known: Segmentation, carried: transfer.Transfer, chi: Image
) -> dict[str, Array]:
    if known.thalamus_probability is None:
        return {name: carried.fraction(index) for name, index in zip(SIDES, THALAMUS, strict=True)}
    shares = {}
    for name, image in zip(SIDES, known.thalamus_probability, strict=True):
        share = transfer.fraction(image, chi, world=known.gre_to_t1w)
        shares[name] = np.zeros(chi.shape, np.float32) if share is None else share.on(chi)
    return shares


def _depth(known: Segmentation, indices: tuple[int, ...], chi: Image) -> Array:
    mask = known.deepgray.like(np.isin(known.deepgray.data, indices))
    return transfer.least_depth_mm(mask, chi, world=known.gre_to_t1w)


def _atria_depth(known: Segmentation, chi: Image) -> Array:
    atria = posterior_third(known.deepgray) if known.atria is None else known.atria
    mask = atria.like(np.asarray(atria.data) > 0)
    return transfer.least_depth_mm(mask, chi, world=known.gre_to_t1w)


def _lesions(known: Segmentation, chi: Image) -> Mask:
    if known.lesions is None:
        return np.zeros(chi.shape, dtype=bool)
    mask = known.lesions.like(np.asarray(known.lesions.data) > 0)
    share = transfer.fraction(mask, chi, world=known.gre_to_t1w)
    if share is None:
        return np.zeros(chi.shape, dtype=bool)
    # Half of a voxel keeps the volume; every voxel touched would enlarge lesions in thick slices.
    lesions: Mask = share.on(chi) >= 0.5
    return lesions


def _iron_rich(known: Segmentation, carried: transfer.Transfer) -> Mask:
    bright = [index for index in carried.shares if region(index, known.names).name in IRON_RICH]
    mask: Mask = np.isin(carried.labels.data, bright)
    return mask


def _sampled(image: Image | None, onto: Image, world: Affine) -> Array | None:
    if image is None:
        return None
    sampled: Array = resample(image, onto, world=world, order=1).data
    return sampled


def _left_and_right(carried: transfer.Transfer) -> tuple[Mask, Mask]:
    """Return the thalamus with the lateral ventricle of each side."""
    left, right = (
        carried.fraction(*pair) > 0.5 for pair in zip(THALAMUS, LATERAL_VENTRICLE, strict=True)
    )
    return left, right


def _side(left: Mask, right: Mask, usable: Mask, image: Image) -> Labels:
    """Return 1 or 2: on which side of the plane halfway between left and right a voxel lies."""
    if left.any() and right.any():
        first, second = (np.argwhere(mask).mean(axis=0) for mask in (left, right))
        middle = (first + second) / 2
        across = image.affine[:3, :3] @ (second - first)
    else:
        middle = np.argwhere(usable).mean(axis=0)
        # World x grows to the right (RAS+): what lies beyond the middle is 2, right.
        across = np.array((1.0, 0.0, 0.0))
    # The scalar product with a world direction, taken in voxel indices.
    normal = image.affine[:3, :3].T @ across
    x, y, z = np.ix_(*(np.arange(n) - centre for n, centre in zip(left.shape, middle, strict=True)))
    side: Labels = np.where(normal[0] * x + normal[1] * y + normal[2] * z > 0, 2, 1)
    return side.astype(np.uint8)


def _without_segmentation(inputs: Inputs, usable: Mask) -> Regions:
    """Return what an external thalamus alone can tell."""
    assert inputs.external.thalamus is not None  # noqa: S101 - Inputs has checked
    drawn = np.asarray(inputs.external.thalamus.data)
    left, right = drawn == 1, drawn == 2
    nowhere = np.zeros(usable.shape, dtype=bool)
    return Regions(
        usable=usable,
        side=_side(left, right, usable, inputs.chi_ppm),
        share={"L": left.astype(np.float32), "R": right.astype(np.float32)},
        # Infinitely deep: what a reader drew has no rim to lose.
        depth_mm={name: np.full(usable.shape, np.inf, np.float32) for name in ("L", "R")},
        lesions=nowhere,
        csf_share=np.zeros(usable.shape, dtype=np.float32),
        iron_rich=nowhere,
    )
