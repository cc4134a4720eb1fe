"""How volumes changed between two visits, from their difference and not from two segmentations.

Both visits lie in one frame (``anatomy.visits``) and share one set of borders. Where a border
moves, the intensity of the voxels on it goes from that of one side to that of the other: the
integral of the difference over the contrast is the change of volume (boundary shift integral:
Freeborough and Fox 1997, doi 10.1109/42.640753; Smith 2002, doi 10.1006/nimg.2002.1040).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.core.crop import Crop, around, margin_voxels
from bids_qsmthal.core.distance import distance_mm
from bids_qsmthal.core.labels import SIDES

if TYPE_CHECKING:
    from bids_qsmthal.core.image import Image

Float = NDArray[np.floating]
Mask = NDArray[np.bool_]

BLOCK_MM = 18.0
"""Edge of the blocks whose scatter gives the standard error: several times what the errors of
neighbouring voxels share (a voxel of interpolation, a few mm of a border)."""

SHELL_MM = 2.5
"""How far from a border the difference is looked at: a border that moved further is no change of
months, and what lies further off belongs to other borders."""

OUTSIDE_MM = 1.5
"""The same on the outer side of a thalamus: the third ventricle is some 3 mm wide, and beyond it
the other thalamus moves the other way."""

STIFF_MM = 0.05
"""How much parts of one structure's border move apart from its mean, as known before the scan is
looked at: 1.5 % of a thalamus, what MS takes in a year or two (Azevedo 2018, doi
10.1002/ana.25150: 0.7 % a year)."""

LOOSE_MM = 0.05
"""How far a structure moves as a whole where the brains match: ``anatomy.visits`` errs by 0.02 mm,
and the thalami sink with the ventricles."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SharedBorders:
    """Shares of tissues and structures that all visits have in common, in the frame.

    Attributes
    ----------
    brain
        Boolean; brain and fluid.
    gm, wm, csf
        Share of each voxel, mean over the visits.
    thalamus
        Share of the left and of the right thalamus.
    ventricles
        Share of the left and of the right lateral ventricle.
    """

    brain: Image
    gm: Image
    wm: Image
    csf: Image
    thalamus: tuple[Image, Image]
    ventricles: tuple[Image, Image]


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeChange:
    """The change of one volume.

    Attributes
    ----------
    region, hemisphere
        As in the table of measures.
    volume_mm3
        The mean of both visits by the shared borders.
    change_mm3, standard_error_mm3
        Second visit less first.
    """

    region: str
    hemisphere: str
    volume_mm3: float
    change_mm3: float
    standard_error_mm3: float


def volume_changes(first: Image, second: Image, shared: SharedBorders) -> tuple[VolumeChange, ...]:
    """Return the changes of thalami, lateral ventricles, gray and white matter.

    Parameters
    ----------
    first, second
        T1w of both visits on the grid of the frame, of one intensity (``VisitFrame.even``).
    shared
        On the same grid.
    """
    thalami = _sides("thalamus", [_surface_change(first, second, one) for one in shared.thalamus])
    ventricles = _sides(
        "lateral_ventricle", [_fluid_change(first, second, one) for one in shared.ventricles]
    )
    return (*thalami, *ventricles, *_tissue_changes(first, second, shared))


@dataclass(frozen=True, slots=True, kw_only=True)
class ThicknessChange:
    """The change of the mean thickness of the cortex.

    Attributes
    ----------
    mean_mm
        The mean of both visits.
    change_mm, standard_error_mm
        Second visit less first.
    """

    mean_mm: float
    change_mm: float
    standard_error_mm: float


def thickness_change(
    first: tuple[Image, Image], second: tuple[Image, Image]
) -> ThicknessChange | None:
    """Return how the cortex's thickness changed where both visits have cortex.

    Parameters
    ----------
    first, second
        Of each visit, sampled on the grid of the frame: thickness (mm, 0 outside the cortex), and
        the share of each voxel that is cortex. Their ratio is the thickness that the voxel has,
        not mixed with what is no cortex.

    Returns
    -------
    ThicknessChange or None
        ``None`` where the visits share no cortex. The standard error is by the scatter of blocks:
        what moves the whole cortex alike, another contrast for example, is not in it.
    """
    both = (first[1].data >= 0.5) & (second[1].data >= 0.5)
    count = int(both.sum())
    if not count:
        return None
    one, two = (
        np.where(both, thickness.data / np.where(both, share.data, 1.0), 0.0)
        for thickness, share in (first, second)
    )
    change, error = _integral(two - one, both, first[0])
    mean = float((one + two)[both].mean(dtype=np.float64)) / 2
    return ThicknessChange(mean_mm=mean, change_mm=change / count, standard_error_mm=error / count)


@dataclass(frozen=True, slots=True)
class _Change:
    volume_mm3: float
    change_mm3: float
    error_mm3: float


def _sides(region: str, changes: list[_Change]) -> tuple[VolumeChange, ...]:
    """Return the change of each side, and of both together."""
    one = [_named(region, side, change) for side, change in zip(SIDES, changes, strict=True)]
    both = _Change(
        sum(change.volume_mm3 for change in changes),
        sum(change.change_mm3 for change in changes),
        float(np.linalg.norm([change.error_mm3 for change in changes])),
    )
    return (*one, _named(region, "LR", both))


def _named(region: str, hemisphere: str, change: _Change) -> VolumeChange:
    return VolumeChange(
        region=region,
        hemisphere=hemisphere,
        volume_mm3=change.volume_mm3,
        change_mm3=change.change_mm3,
        standard_error_mm3=change.error_mm3,
    )


def _tissue_changes(first: Image, second: Image, shared: SharedBorders) -> tuple[VolumeChange, ...]:
    """Return the changes of gray and white matter: voxels on borders by what they hold."""
    mean = ndimage.gaussian_filter((first.data + second.data) / 2, 0.5)
    inside = np.asarray(shared.brain.data, bool)
    shares = {"csf": shared.csf.data, "gm": shared.gm.data, "wm": shared.wm.data}
    fluid, gray, white = (_level(mean, inside & (share > 0.95)) for share in shares.values())
    # How a voxel's share of gray and of white matter grows with its intensity: fluid is darkest.
    outer = (mean > fluid) & (mean <= gray)
    inner = (mean > gray) & (mean < white)
    by_gray = outer / (gray - fluid) - inner / (white - gray)
    by_white = inner / (white - gray)
    volume = first.voxel_volume_mm3
    difference = second.data - first.data
    found = []
    for region, key, slope in (("gray_matter", "gm", by_gray), ("white_matter", "wm", by_white)):
        border = inside & _border(shares[key])
        change, error = _integral(slope * difference * volume, border, first)
        total = float(shares[key][inside].sum()) * volume
        found.append(_named(region, "n/a", _Change(total, change, error)))
    return tuple(found)


def _level(mean: Float, inside: Mask) -> float:
    return float(np.median(mean[inside])) if inside.any() else float("nan")


def _border(share: Float) -> Mask:
    """Return where a share changes from a voxel to its neighbours."""
    low = ndimage.minimum_filter(share, 3)
    border: Mask = ndimage.maximum_filter(share, 3) - low > 0.5
    return border


def _fluid_change(first: Image, second: Image, share: Image) -> _Change:
    """Return the change of a space of fluid within tissue."""
    crop = _around(share, 3 * SHELL_MM)
    if crop is None:
        return _Change(0.0, float("nan"), float("nan"))
    one, two, part = (crop.of(image) for image in (first, second, share))
    depth_mm = _depth_mm(part)
    mean = (one.data + two.data) / 2
    fluid = _level(mean, depth_mm > min(1.5, float(depth_mm.max()) - 0.5))
    tissue = _level(mean, (depth_mm < -SHELL_MM) & (depth_mm > -2 * SHELL_MM))
    near = np.abs(depth_mm) <= SHELL_MM
    swing = (one.data - two.data) / (tissue - fluid) * one.voxel_volume_mm3
    change, error = _integral(swing, near, one)
    return _Change(float(share.data.sum()) * share.voxel_volume_mm3, change, error)


def _integral(density: Float, where: Mask, grid: Image) -> tuple[float, float]:
    """Return the sum over a region and its standard error, by the scatter of its blocks.

    A change that is even over the border is no error: blocks are compared with their part of it.
    """
    blocks = _blocks(grid)[where]
    sums, sizes = np.bincount(blocks, density[where]), np.bincount(blocks)
    sums, sizes = sums[sizes > 0], sizes[sizes > 0]
    total = float(sums.sum())
    rest = sums - total * sizes / sizes.sum()
    if len(sums) < 2:
        return total, float("nan")
    return total, float(np.sqrt((rest**2).sum() * len(sums) / (len(sums) - 1)))


def _blocks(grid: Image) -> NDArray[np.intp]:
    """Return the number of the block of each voxel."""
    size = np.maximum(np.rint(BLOCK_MM / np.array(grid.grid.voxel_size_mm)).astype(int), 1)
    counts = [n // edge + 1 for n, edge in zip(grid.shape, size, strict=True)]
    x, y, z = np.ogrid[tuple(slice(n) for n in grid.shape)]
    numbers: NDArray[np.intp] = ((x // size[0]) * counts[1] + y // size[1]) * counts[2] + z // size[
        2
    ]
    return numbers


def _surface_change(first: Image, second: Image, share: Image) -> _Change:
    """Return the change of a structure whose border is faint and differs from face to face.

    Each face's mean profile across the border is compared between the visits: how far it moved is
    the shift that explains their difference, whatever its contrast. Faces of much contrast count
    more, as they err less (generalised least squares).
    """
    crop = _around(share, 3 * SHELL_MM)
    if crop is None:
        return _Change(0.0, float("nan"), float("nan"))
    one, two, part = (crop.of(image) for image in (first, second, share))
    depth_mm = _depth_mm(part)
    normal = -np.stack(np.gradient(depth_mm, *part.grid.voxel_size_mm), axis=-1)
    near = (depth_mm <= SHELL_MM) & (depth_mm >= -OUTSIDE_MM)
    face = _faces(normal)
    shifts = [
        _shift_mm(one.data, two.data, depth_mm, near & (face == number)) for number in range(6)
    ]
    areas = np.array([float((near & (face == number)).sum()) for number in range(6)])
    areas *= part.voxel_volume_mm3 / (SHELL_MM + OUTSIDE_MM)
    change, error = _joined(shifts, areas)
    return _Change(float(share.data.sum()) * share.voxel_volume_mm3, change, error)


FACES = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], float)


def _faces(normal: Float) -> NDArray[np.intp]:
    """Return which of the six directions a voxel's border looks to."""
    return np.asarray((normal @ FACES.T).argmax(axis=-1))


def _shift_mm(first: Float, second: Float, depth_mm: Float, where: Mask) -> tuple[float, float]:
    """Return how far a border moved outwards (mm) and the variance of it."""
    width_mm = 0.5
    bins = np.floor((depth_mm[where] + SHELL_MM) / width_mm).astype(int)
    counts = np.bincount(bins)
    used = counts > 0
    before, after = (
        (np.bincount(bins, image[where]) / np.maximum(counts, 1))[used] for image in (first, second)
    )
    if used.sum() < 5:
        return 0.0, np.inf
    middle = (np.flatnonzero(used) + 0.5) * width_mm
    # Outwards is to smaller depths: a border that moves outwards by s shows at d what was at d + s.
    slope = np.gradient((before + after) / 2, middle)
    weight = np.sqrt(counts[used])
    design = np.stack([slope, np.ones_like(slope)], axis=1) * weight[:, None]
    wanted = (after - before) * weight
    found, *_ = np.linalg.lstsq(design, wanted, rcond=None)
    rest = wanted - design @ found
    noise = float((rest**2).sum() / (len(rest) - 2))
    # The pseudo-inverse of a flat profile would promise certainty.
    spread = np.linalg.inv(design.T @ design + 1e-12 * np.eye(2))
    return float(found[0]), float(noise * spread[0, 0])


def _joined(shifts: list[tuple[float, float]], areas: NDArray[np.float64]) -> tuple[float, float]:
    """Return the change of volume (mm3) of faces that moved together, and its standard error."""
    moved, variance = (np.array(values) for values in zip(*shifts, strict=True))
    seen = np.isfinite(variance) & (areas > 0)
    if not seen.any():
        return float("nan"), float("nan")
    moved, variance, faces = moved[seen], variance[seen], FACES[seen]
    apart = STIFF_MM**2 * np.eye(len(moved))
    known = np.diag(variance) + apart + LOOSE_MM**2 * faces @ faces.T
    inverse = np.linalg.inv(known)
    certainty = inverse.sum()
    mean = inverse.sum(axis=0) @ moved / certainty
    of_face = mean + apart @ inverse @ (moved - mean)
    whole = areas.sum()
    change = float(areas[seen] @ of_face) + float(areas[~seen].sum() * mean)
    return change, float(whole / np.sqrt(certainty))


def _around(share: Image, margin_mm: float) -> Crop | None:
    margin = margin_voxels(margin_mm, share.grid.voxel_size_mm)
    return around(share.data > 0.5, margin=margin)


def _depth_mm(share: Image) -> NDArray[np.float64]:
    """Return how deep each voxel lies in a structure; negative outside."""
    inside = share.data > 0.5
    sizes = share.grid.voxel_size_mm
    depth = distance_mm(~inside, sizes)
    depth -= distance_mm(inside, sizes)
    # Centres of voxels beside the border are half a voxel from it; the steps of voxels are no
    # border.
    depth -= 0.5 * min(sizes) * np.sign(depth)
    smooth: NDArray[np.float64] = ndimage.gaussian_filter(depth, 0.7)
    return smooth
