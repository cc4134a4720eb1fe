"""Anatomy of a digital participant from a label map: somebody's own head in place of the atlas.

Where nothing is labelled outside the brain, a head is grown round it (``envelope``).
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.core.affine import apply, apply_to_columns
from bids_qsmthal.core.crop import Crop, around, around_each
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.image import Affine, Image
from bids_qsmthal.core.labels import (
    CORTICAL_PARCELS,
    LATERAL_VENTRICLE,
    MIDBRAIN,
    PARTS,
    SIDES,
    TABLE,
    THALAMUS,
    TissueClass,
)
from bids_qsmthal.simulate import label_maps
from bids_qsmthal.simulate.envelope import DURA_MM, LabelledEnvelope, envelope
from bids_qsmthal.simulate.head_model import HeadAnatomy
from bids_qsmthal.simulate.nuclei import (
    draw_nuclei,
    is_internal,
    midbrain_affine,
    over_brainstem,
    side_by_side,
)
from bids_qsmthal.simulate.templates import (
    NUCLEI,
    StructureMap,
    Templates,
    dentate_nuclei,
    smoothed,
    soft,
    stored,
)
from bids_qsmthal.simulate.tissues import ROW
from bids_qsmthal.simulate.warps import stretched

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bids_qsmthal.simulate.label_maps import LabelMap, Labels, Mask

Float = NDArray[np.float32]

SOFT_MM: Final = 0.5
"""Standard deviation that takes the steps of voxels off a border. A sulcus of one voxel stays open
(its middle keeps .68); with the .8 mm of the atlas it would close."""

MARGIN: Final = 12
"""Voxels round the brain that hold the tails of all filters."""

ATRIUM_MM: Final = 22.0
"""So far behind the thalami a lateral ventricle is atrium, farther it is occipital horn."""

LANDMARKS: Final = (*NUCLEI, "fourth_ventricle")
"""Their centres place a head in the atlas; that of the brainstem depends on where it was cut."""

FARTHEST_MM: Final = 8.0
"""Root mean square of what may be left between landmarks. On ten heads (SynthSeg's training set) it
is 2.2 to 4.9 mm; with left and right exchanged it is 14 mm."""

STRETCH: Final = (0.75, 1.35)
"""Limits of the atlas's size against a head's, along each axis."""

LABELLED: Final = ("substantia_nigra", "accumbens", *NUCLEI)
"""Nuclei that have the shape of their labels, where there are any; later ones lie over earlier."""

MIDBRAIN_WITHIN: Final = ("brainstem", "ventral_dc", "substantia_nigra", "cerebral_white_matter")
DENTATE_WITHIN: Final = ("cerebellar_white_matter", "cerebellar_cortex")
"""No label map has these nuclei: the atlas's are put where these labels are."""

OUTSIDE_ROWS: Final = {
    "eye": (506,),
    "mucosa": (509,),
    "skull": (515, label_maps.SKULL),
    "marrow": (516,),
}
"""Tissue by charm's numbers and FreeSurfer's skull; arteries, veins, muscle, skin, soft tissue and
the spinal cord count as muscle."""


class HeadPlacement(NamedTuple):
    """How a head lies in the atlas: world of the labels to head mm, and from there to atlas mm."""

    to_head: Affine
    stretch: NDArray[np.float64]


def read_anatomy(path: Path) -> HeadAnatomy:
    """Read a label map and make of it what a digital participant is drawn in.

    The warp stretches the head to the size of the atlas and does no more: the anatomy stays as it
    was labelled, its borders half a millimetre soft.

    Raises
    ------
    MissingInputError
        No such file.
    DataError
        Not a label map of a whole brain with known numbers.
    """
    head = label_maps.read(path)
    placement = placed(head.labels, path)
    warp = stretched(placement.stretch)
    crop = _round(head.brain)
    parts = _templates(head, crop, np.diag([*placement.stretch, 1.0]) @ placement.to_head)
    # Skull and scalp are larger than a quarter of the brain; a few voxels of them are no head.
    if head.outside.sum() > head.brain.sum() / 4:
        around_brain = _labelled_envelope(head, crop, placement.to_head)
        return HeadAnatomy(name=path.name, templates=parts, warp=warp, envelope=around_brain)
    return HeadAnatomy(name=path.name, templates=parts, warp=warp, envelope=envelope(parts, warp))


def _round(brain: Mask) -> Crop:
    """Return a box that holds the brain and a margin, also where the map ends before."""
    tight = around(brain)
    if tight is None:
        raise ValueError("a label map that was checked has a brain")
    x, y, z = (first - MARGIN for first in tight.start)
    width, length, height = (size + 2 * MARGIN for size in tight.shape)
    return Crop((x, y, z), (width, length, height), tight.whole_shape)


def placed(labels: Image, path: Path) -> HeadPlacement:
    """Return how a head lies in the atlas, from the centres of its deep structures.

    A rotation and a shift (Kabsch 1976, doi 10.1107/S0567739476001873) lead to head mm, and a
    factor for each axis from there to the atlas: the head keeps size and shape.
    """
    here, there = _centres(labels), _centres(stored("desc-deepgray_dseg"))
    shared = sorted(here.keys() & there.keys())
    ours, atlas = (np.stack([centres[name] for name in shared]) for centres in (here, there))
    middle, atlas_middle = ours.mean(axis=0), atlas.mean(axis=0)
    turn = _rotation(ours - middle, atlas - atlas_middle)
    turned, spread = (ours - middle) @ turn.T, atlas - atlas_middle
    stretch = np.clip((turned * spread).sum(axis=0) / (turned**2).sum(axis=0), *STRETCH)
    left_mm = float(np.sqrt(((turned * stretch - spread) ** 2).sum(axis=1).mean()))
    if len(shared) < 6 or left_mm > FARTHEST_MM:
        raise DataError(
            f"{path}: thalami, basal ganglia and ventricles do not lie where they do in a head "
            f"({left_mm:.0f} mm off in {len(shared)} structures); expected left and right as in "
            "the header. Check the labels over their scan."
        )
    to_head = np.eye(4)
    to_head[:3, :3] = turn
    to_head[:3, 3] = atlas_middle / stretch - turn @ middle
    return HeadPlacement(to_head, stretch)


def _centres(labels: Image) -> Mapping[int, NDArray[np.float64]]:
    """Return the centre (mm) of each landmark that has voxels."""
    wanted = {index for name in LANDMARKS for index in TABLE.structure(name).indices}
    found = {}
    for index, box in around_each(labels.data):
        if index in wanted:
            voxels = np.argwhere(box.cut(labels.data) == index)
            found[index] = apply(box.affine(labels.affine), voxels.mean(axis=0))
    return found


def _rotation(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> NDArray[np.float64]:
    left, _, right = np.linalg.svd(theirs.T @ ours)
    # No mirror: what the header calls left stays left.
    keep = np.diag([1.0, 1.0, np.linalg.det(left @ right)])
    return np.asarray(left @ keep @ right)


def _templates(head: LabelMap, crop: Crop, to_atlas: Affine) -> Templates:
    """Return tissues and structures of the labels, as the atlas has its own."""
    labels: Labels = crop.cut(head.labels.data)
    affine = to_atlas @ crop.affine(head.labels.affine)
    gray, white = _tissues(labels)
    shape = labels.shape
    ventricle = dict(zip(SIDES, LATERAL_VENTRICLE, strict=True))
    horn = dict(zip(SIDES, TABLE.pair("inferior_lateral_ventricle"), strict=True))
    midline = ("third_ventricle", "fourth_ventricle", "fifth_ventricle")
    ventricles = {f"ventricle_{side}": (ventricle[side], horn[side]) for side in SIDES} | {
        "ventricle_M": tuple(TABLE.index(name) for name in midline)
    }
    return Templates(
        affine=affine,
        gray=gray,
        white=white,
        # What is inside the skull and not tissue is fluid, labelled or not.
        csf=np.asarray(1 - gray - white),
        brain=ndimage.gaussian_filter(crop.cut(head.brain).astype(np.float32), 1.0),
        # Voxels have about 1 mm.
        structures=_deep_structures(labels, affine, float(head.brain.sum())),
        ventricles={
            name: smoothed(np.isin(labels, numbers), sigma_mm=SOFT_MM)
            for name, numbers in ventricles.items()
            if np.isin(labels, numbers).any()
        },
        atria=smoothed(_atria(labels, _posterior_mm(affine, shape)), sigma_mm=SOFT_MM),
        fluid_fills=True,
    )


def _tissues(labels: Labels) -> tuple[Float, Float]:
    """Return gray and white matter, as if there were no deep structures and no ventricles.

    These are laid over them: a voxel that is half thalamus must not be half cortex beside it.
    """
    tissue = label_maps.tissue_of(np.where(_in_brain(labels), labels, 0))
    names = ("inferior_lateral_ventricle", "lateral_ventricle", "choroid_plexus")
    over = [index for name in (*LABELLED, *names) for index in TABLE.pair(name)]
    over += [TABLE.index(name) for name in ("brainstem", "third_ventricle", "fourth_ventricle")]
    covered = np.isin(labels, over)
    tissue = np.asarray(label_maps.nearest(tissue, (tissue > 0) & ~covered, covered))
    gray, white = (
        ndimage.gaussian_filter((tissue == kind).astype(np.float32), SOFT_MM)
        for kind in (TissueClass.GRAY, TissueClass.WHITE)
    )
    return gray, white


def _in_brain(labels: Labels) -> Mask:
    return np.asarray(
        (labels < label_maps.CHARM.start) | (labels >= CORTICAL_PARCELS.start)
    ) & ~np.isin(labels, (label_maps.SKULL, label_maps.HEAD))


def _deep_structures(labels: Labels, affine: Affine, brain_mm3: float) -> dict[str, StructureMap]:
    """Return plexus, brainstem and nuclei, those that are labelled and those that are drawn."""
    found = {}
    plexus = np.isin(labels, TABLE.pair("choroid_plexus"))
    if plexus.any():
        found["plexus"] = smoothed(plexus, sigma_mm=SOFT_MM)
    if (labels == TABLE.index("brainstem")).any():
        found["brainstem"] = smoothed(labels == TABLE.index("brainstem"), sigma_mm=SOFT_MM)
    # The same map always has the same nuclei: they belong to the head, as its labels do.
    generator = np.random.default_rng(zlib.crc32(labels.tobytes()))
    within = np.isin(labels, _numbers(MIDBRAIN_WITHIN))
    ventral_dc = np.isin(labels, TABLE.pair("ventral_dc"))
    to_midbrain = midbrain_affine(affine, ventral_dc, brain_mm3)
    midbrain = draw_nuclei(labels.shape, to_midbrain, generator, MIDBRAIN, within)
    found |= dentate_nuclei(labels.shape, affine, np.isin(labels, _numbers(DENTATE_WITHIN)))
    for name in LABELLED:
        for side, index in zip(SIDES, TABLE.pair(name), strict=True):
            if (labels == index).any():
                found |= _labelled_nucleus(f"{name}_{side}", labels == index, affine)
    drawn = {name: part for name, part in midbrain.items() if name not in found}
    return over_brainstem(found, drawn)


def _numbers(names: tuple[str, ...]) -> list[int]:
    return [index for name in names for index in TABLE.structure(name).indices]


def _labelled_nucleus(name: str, mask: Mask, affine: Affine) -> dict[str, StructureMap]:
    """Return a nucleus as it is labelled; a pallidum is divided as in the atlas."""
    nucleus, _, side = name.rpartition("_")
    if nucleus != "pallidum":
        return {name: smoothed(mask, sigma_mm=SOFT_MM)}
    voxels = np.argwhere(mask).T
    internal = np.zeros_like(mask)
    internal[tuple(voxels)] = is_internal(apply_to_columns(affine, voxels), side)
    whole = smoothed(mask, sigma_mm=SOFT_MM).crop
    parts = zip(PARTS, (mask & ~internal, internal), strict=True)
    return side_by_side(
        {
            f"{part}_{side}": StructureMap(soft(whole.cut(own), SOFT_MM), whole)
            for part, own in parts
            if own.any()
        }
    )


def _posterior_mm(affine: Affine, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the second coordinate of each voxel."""
    x, y, z = np.ogrid[tuple(slice(n) for n in shape)]
    return np.asarray(affine[1, 0] * x + affine[1, 1] * y + affine[1, 2] * z + affine[1, 3])


def _atria(labels: Labels, y_mm: NDArray[np.float64]) -> Mask:
    """Return the lateral ventricles from the thalami's rear as far back as an atrium reaches."""
    # Not the last voxel: labels have spurs.
    rear_mm = np.quantile(y_mm[np.isin(labels, THALAMUS)], 0.02)
    behind = (y_mm < rear_mm) & (y_mm > rear_mm - ATRIUM_MM)
    return np.isin(labels, LATERAL_VENTRICLE) & behind


def _labelled_envelope(head: LabelMap, crop: Crop, to_head: Affine) -> LabelledEnvelope:
    """Return the head as it is labelled round the brain."""
    brain = ndimage.binary_fill_holes(crop.cut(head.brain))
    beyond, within = (ndimage.distance_transform_edt(mask) for mask in (~brain, brain))
    # From centre to centre a distance jumps from -1 to 1 across the border, which is half a voxel
    # from either.
    signed = np.where(brain, 0.5 - within, beyond - 0.5).astype(np.float32)
    depth = ndimage.gaussian_filter(signed, SOFT_MM) + np.float32(DURA_MM)
    rows = np.full(head.labels.shape, ROW["muscle"], np.uint8)
    rows[head.labels.data == 0] = ROW["air"]
    for name, numbers in OUTSIDE_ROWS.items():
        rows[np.isin(head.labels.data, numbers)] = ROW[name]
    rows[head.brain] = ROW["dura"]
    affine = to_head @ head.labels.affine
    return LabelledEnvelope(
        depth=Image(depth, to_head @ crop.affine(head.labels.affine)),
        tissue=Image(rows, affine),
    )
