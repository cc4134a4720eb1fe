"""Putamen, caudate, accumbens and pallidum where the image shows them, starting from the atlas.

Every voxel near the warped nuclei is of one kind: one of the four nuclei, white matter, other gray
matter, or fluid. What it is before the image is seen follows from its signed distance d to each
warped outline (mm, positive inside): nucleus k with the probability 1 / (1 + exp(-d / s)), a
logistic law whose standard deviation is the uncertainty of the registration; the rest is divided as
the tissue priors say. Intensities of a kind are normal about one mean, with one spread for all, so
that a voxel on the border of two kinds belongs to that which fills more than half of it. Neighbours
are likely of one kind (a Markov random field in the mean-field approximation), and the means of
nuclei and white matter are found by expectation maximisation (Zhang 2001, doi 10.1109/42.906424).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.anatomy import atlas
from bids_qsmthal.core import robust
from bids_qsmthal.core.crop import Crop, around, margin_voxels
from bids_qsmthal.core.distance import distance_mm
from bids_qsmthal.core.labels import PARTS, SIDES, SMALL_NUCLEI, TABLE, parsed

if TYPE_CHECKING:
    from bids_qsmthal.anatomy.cropping import Cropped
    from bids_qsmthal.anatomy.tissue import Fractions

Float = NDArray[np.float32]
Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

SUBCORTEX_TABLE: Final = "desc-subcortex_dseg"
"""Label table of the atlas's nuclei (CIT168, Pauli 2018, doi 10.1038/sdata.2018.63)."""

NUCLEI: Final[dict[str, tuple[str, ...]]] = {
    "putamen": ("putamen",),
    "caudate": ("caudate",),
    "accumbens": ("accumbens",),
    "pallidum": PARTS,
}
"""What is refined, and which labels of the atlas it is made of."""

LOGISTIC: Final = np.sqrt(3) / np.pi
"""Scale of a logistic law over its standard deviation."""

TRACE: Final = 0.05
"""Least share of each tissue beside the nuclei: an average brain knows no single fold."""

OUTLIER: Final = 8.0
"""Logarithm of a likelihood: no voxel is more than this against a kind (vessels, lesions)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BasalGanglia:
    """How nuclei are moved from the atlas to the image.

    Attributes
    ----------
    uncertainty_mm
        How far a warped border is expected from the true one (standard deviation).
    reach_mm
        Voxels farther than this outside of every warped nucleus belong to none.
    sure_mm
        This far inside of its warped outline a nucleus is what it seems, to begin with.
    alike
        What each of 26 neighbours of one kind adds to the logarithm of its odds.
    rounds, sweeps
        Of expectation maximisation; of the mean field in each.
    """

    uncertainty_mm: float = 1.2
    reach_mm: float = 4.0
    sure_mm: float = 1.0
    alike: float = 0.3
    rounds: int = 3
    sweeps: int = 3


def refined_basal_ganglia(
    t1w: Float,
    warped: Labels,
    taken: Mask,
    tissue: Fractions,
    cropped: Cropped,
    how: BasalGanglia,
) -> Labels:
    """Label putamen, caudate, accumbens and pallidum as the image shows them.

    Parameters
    ----------
    t1w
        Even intensities, lesions filled, shape (x, y, z).
    warped
        The atlas's nuclei, numbers of ``SUBCORTEX_TABLE``.
    taken
        What belongs to other structures (thalami, ventricles) and stays theirs.
    tissue
        Intensities of the tissues.
    cropped
        Brain, tissue priors and voxel size.
    how
        Parameters.

    Returns
    -------
    ndarray
        FreeSurfer's numbers; zero elsewhere.
    """
    found = np.zeros(warped.shape, dtype=np.uint8)
    crop = around(warped > 0, margin=margin_voxels(how.reach_mm + 1, cropped.voxel_mm))
    if crop is None:
        return found
    numbers = _numbers()
    labels = crop.cut(warped)
    signed = {
        name: [_signed_mm(np.isin(labels, of), cropped.voxel_mm) for of in sides]
        for name, sides in numbers.items()
    }
    whole_mm = np.stack([np.maximum(left, right) for left, right in signed.values()])
    box = _Box(
        values=crop.cut(t1w),
        signed_mm=whole_mm,
        free=crop.cut(cropped.brain & ~taken) & (whole_mm.max(axis=0) > -how.reach_mm),
    )
    if not (box.free & (whole_mm > how.sure_mm)).any(axis=(1, 2, 3)).all():
        # A nucleus without an inside (cut by the field of view) has no intensity to go by: the
        # warped outlines stay.
        kinds = np.where(whole_mm.max(axis=0) > 0, whole_mm.argmax(axis=0), len(signed))
    else:
        kinds = _kinds(box, _prior(whole_mm, crop, cropped, how), tissue, how)
    own = np.zeros(labels.shape, dtype=np.uint8)
    for kind, (name, (left, right)) in enumerate(signed.items()):
        for index, here in zip(TABLE.pair(name), (left >= right, right > left), strict=True):
            own[box.free & (kinds == kind) & here] = index
    return crop.paste(own)


@dataclass(frozen=True, slots=True, eq=False)
class _Box:
    """Intensities, distances to the warped nuclei (nuclei, x, y, z) and what may belong to them."""

    values: Float
    signed_mm: Float
    free: Mask


def _numbers() -> dict[str, list[list[int]]]:
    """Return the atlas's numbers of each nucleus: left, right."""
    regions = {index: parsed(name) for index, name in atlas.names(SUBCORTEX_TABLE).items()}
    return {
        name: [
            [i for i, region in regions.items() if region.name in parts and region.hemisphere == s]
            for s in SIDES
        ]
        for name, parts in NUCLEI.items()
    }


def _signed_mm(mask: Mask, voxel_mm: tuple[float, float, float]) -> Float:
    """Return the distance to the border of a mask, positive inside; far outside of an empty one."""
    if not mask.any():
        return np.full(mask.shape, -np.inf, dtype=np.float32)
    half = float(np.mean(voxel_mm)) / 2
    inside, outside = distance_mm(~mask, voxel_mm), distance_mm(mask, voxel_mm)
    return np.where(mask, inside - half, half - outside).astype(np.float32)


def _prior(signed_mm: Float, crop: Crop, cropped: Cropped, how: BasalGanglia) -> Float:
    """Return the logarithm of the prior: nuclei, then fluid, gray and white matter."""
    scale = np.float32(LOGISTIC * how.uncertainty_mm)
    # The limit keeps the exponential finite where a nucleus is not there at all.
    nuclei = 1 / (1 + np.exp(np.clip(-signed_mm / scale, None, 50)))
    tissues = np.stack([crop.cut(prior) + np.float32(TRACE) for prior in cropped.priors])
    rest = np.prod(1 - nuclei, axis=0) / tissues.sum(axis=0)
    prior = np.concatenate([nuclei, rest * tissues])
    prior /= prior.sum(axis=0)
    return np.asarray(np.log(np.maximum(prior, np.float32(1e-6))), np.float32)


def _kinds(box: _Box, prior: Float, tissue: Fractions, how: BasalGanglia) -> NDArray[np.intp]:
    """Return the likeliest kind of each voxel, in the order of the prior."""
    count = len(box.signed_mm)
    core = box.free & (box.signed_mm > how.sure_mm)
    means = [float(np.median(box.values[inside])) for inside in core] + list(tissue.means)
    # The largest nucleus has the most voxels to judge noise by; a third tissue's texture differs.
    spread = max(robust.spread(box.values[core[0]] - means[0], 0.0), 1e-6)
    share = prior
    for _ in range(how.rounds):
        away = (box.values - np.array(means, np.float32).reshape(-1, 1, 1, 1)) / np.float32(spread)
        evidence = -0.5 * away**2
        evidence = prior + np.maximum(evidence, evidence.max(axis=0) - np.float32(OUTLIER))
        share = _softmax(evidence)
        for _ in range(how.sweeps):
            around_it = np.stack([ndimage.uniform_filter(part, 3) for part in share])
            share = _softmax(evidence + np.float32(27 * how.alike) * around_it)
        for kind in (*range(count), len(means) - 1):  # the nuclei and, last, white matter
            sure = box.free & (share[kind] > 0.9)
            if sure.any():
                means[kind] = float(np.average(box.values[sure], weights=share[kind][sure]))
    return np.asarray(share.argmax(axis=0))


def _softmax(evidence: Float) -> Float:
    share = np.exp(evidence - evidence.max(axis=0))
    return np.asarray(share / share.sum(axis=0))


def small_nuclei(
    warped: Labels, deepgray: NDArray[Any], voxel_mm: tuple[float, float, float]
) -> tuple[Labels, dict[int, str]]:
    """Return ``SMALL_NUCLEI`` and their names.

    Both parts of the pallidum are cut and filled to its refined outline, each voxel by the nearer
    of both, once they are shifted onto its centre: T1w shows no border between them, and where the
    outline lies beside the warped atlas, one part would take the other's place. T1w hardly shows
    the nuclei of the midbrain: they stay where the registration puts them, where no other structure
    is. They are not outlined on susceptibility, for a mean over voxels that were chosen by their
    value is too high.
    """
    names = atlas.names(SUBCORTEX_TABLE)
    regions = {index: parsed(name) for index, name in names.items()}
    kept = {index: names[index] for index, region in regions.items() if region.name in SMALL_NUCLEI}
    beside = np.isin(warped, [i for i in kept if regions[i].name not in PARTS])
    # In what has no label, or in the brainstem, whose label reaches up to them.
    free = np.isin(deepgray, (0, TABLE.index("brainstem")))
    own = np.where(beside & free, warped, 0).astype(np.uint8)
    for side, pallidum in zip(SIDES, TABLE.pair("pallidum"), strict=True):
        parts = [
            index
            for index in kept
            if regions[index].hemisphere == side and regions[index].name in PARTS
        ]
        own[deepgray == pallidum] = _nearer_part(warped, parts, deepgray == pallidum, voxel_mm)
    return own, kept


def _nearer_part(
    warped: Labels, parts: list[int], inside: Mask, voxel_mm: tuple[float, float, float]
) -> Labels:
    """Return which part each voxel of an outline is, once the parts have its centre."""
    voxels = np.argwhere(inside)
    present = [index for index in parts if (warped == index).any()]
    if len(present) < len(parts) or not len(voxels):
        # The field of view cut one off.
        return np.full(len(voxels), (*present, *parts)[0], np.uint8)
    middle = np.argwhere(np.isin(warped, parts)).mean(axis=0)
    there = (voxels - voxels.mean(axis=0) + middle).T
    distances = [
        ndimage.map_coordinates(
            distance_mm(warped == index, voxel_mm), there, order=1, mode="nearest"
        )
        for index in parts
    ]
    return np.asarray(np.array(parts, np.uint8)[np.argmin(distances, axis=0)])
