"""Rigid registration of two scans of one head, with a judgement of the result."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.anatomy.ants_bridge import RegistrationStage, align
from bids_qsmthal.anatomy.bias_field import BiasField, bias_corrected
from bids_qsmthal.anatomy.brain import rough_brain_mask
from bids_qsmthal.anatomy.frame import Frame
from bids_qsmthal.anatomy.sampling import isotropic
from bids_qsmthal.core.affine import apply, between, voxel_sizes_mm
from bids_qsmthal.core.image import Affine, Image, reoriented
from bids_qsmthal.core.scan_warnings import BrainsDoNotOverlap, RegistrationNotSharp, ScanWarning

logger = logging.getLogger(__name__)

SEARCH = RegistrationStage(
    transform="Rigid[0.1]",
    metric="MI",
    iterations=(200, 100),
    shrink=(2, 1),
    smooth_voxels=(1, 0.5),
    sampling=0.1,
)
SEARCH_AGAIN = replace(
    SEARCH, iterations=(200, 200, 100), shrink=(4, 2, 1), smooth_voxels=(2, 1, 0.5), sampling=0.25
)
"""From 8 mm on and with more voxels, at four times the cost, where few led the search astray.

In two T1w of a simulated head, turned by 7 degrees, a tenth of the voxels did with two seeds of
three; this found the match with four seeds of four."""

REFINE = RegistrationStage(
    transform="Rigid[0.1]", metric="MI", iterations=(10,), shrink=(1,), smooth_voxels=(0,)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RigidRegistration:
    """How two scans are registered, and when the result is called failed.

    Attributes
    ----------
    search, search_mm
        Finds the match in images of such voxels.
    search_again
        In place of ``search`` where its result shares less information than the start, or fails.
    refine, samples
        Makes it sharp in the images as they are; so many voxels of the frame are looked at, however
        small they are.
    probe_mm
        The result is moved by this much along each axis, both ways; at a true match the images
        then share less information each time.
    min_overlap
        Share of the moving mask that must lie in the fixed one; a slab may be the smaller.
    min_sharpness
        Least ``sharpness`` of a result, see ``Rigid``.
    even
        Whether the gain of the receive coils is taken out of the moving image first.
    """

    search: RegistrationStage = SEARCH
    search_mm: float = 2.0
    search_again: RegistrationStage = SEARCH_AGAIN
    refine: RegistrationStage = REFINE
    samples: int = 100_000
    probe_mm: float = 4.0
    min_overlap: float = 0.85
    min_sharpness: float = 0.0
    even: bool = False


UNEVEN = RigidRegistration(even=True, min_sharpness=0.15)
"""For a gradient echo, which keeps the intensities of its coils. Simulated heads, oblique by 15
degrees: sharpness 0.62 where the brain is within 0.2 mm; with the intensity of eight coils that was
left in, 0.31 at an error of 2 mm and 0.04 at 11 mm."""

BINS = 32
"""Of each image in the joint histogram of mutual information."""

GAIN = BiasField(spacing_mm=6.0, spline_mm=100.0)
"""Coils of a head array are about this far apart."""


@dataclass(frozen=True, slots=True, eq=False)
class Rigid:
    """Where a point of the moving scan's world lies in the fixed scan's world.

    Attributes
    ----------
    matrix
        4x4 on RAS points, moving to fixed.
    quality
        ``information``: normalised mutual information, 1 (none) to 2; ``information_start``: the
        same before; ``sharpness``: smallest loss of information when the result is shifted by
        the probe distance, in shares of ``information`` - 1; ``overlap``: share of the moving mask
        that lies in the fixed one; ``shift_mm``, ``rotation_deg``: how far the centre of the moving
        mask goes, and how the brain turns.
    warnings
        Why the result should not be trusted; empty when it can be.
    """

    matrix: Affine
    quality: dict[str, float]
    warnings: tuple[ScanWarning, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether the failure rule applies."""
        return bool(self.warnings)


def rigid(
    fixed: Image,
    moving: Image,
    *,
    fixed_mask: Image | None = None,
    moving_mask: Image | None = None,
    settings: RigidRegistration | None = None,
    seed: int = 1,
) -> Rigid:
    """Register two scans of one head.

    Parameters
    ----------
    fixed, moving
        Any two contrasts, shape (x, y, z).
    fixed_mask, moving_mask
        The brain in each; strongly advised, as skull and neck move on their own.
    settings
        How.
    seed
        Of the random sampling.
    """
    how = settings or RigidRegistration()
    target, target_mask = _framed(fixed, fixed_mask)
    source, source_mask = _framed(moving, moving_mask)
    if how.even:
        source = _even(source, source_mask)
    start = _start(target, source, target_mask, source_mask)
    masks = (target_mask, source_mask)
    found = _judged(
        target, source, masks, _matched(target, source, target_mask, start, how, seed), how
    )
    begun = _information(target, source, start, target_mask)
    if found.failed or found.quality["information"] <= begun:
        patient = replace(how, search=how.search_again)
        way = _matched(target, source, target_mask, start, patient, seed)
        other = _judged(target, source, masks, way, how)
        found = max((found, other), key=lambda one: one.quality["information"])
    logger.info(
        "registered: normalised mutual information %(information).3f, overlap %(overlap).2f",
        found.quality,
    )
    return found


def _judged(
    target: Image, source: Image, masks: tuple[Image, Image], found: Affine, how: RigidRegistration
) -> Rigid:
    """Return a match, fixed to moving, with the judgement of it."""
    # ANTs returns fixed to moving, as resampling needs it; ``Rigid`` says where the moving head's
    # points go.
    matrix: Affine = np.linalg.inv(found).astype(np.float64)
    quality = {
        "information": _information(target, source, found, masks[0]),
        "information_start": _information(target, source, np.eye(4), masks[0]),
        "sharpness": _sharpness(target, source, found, masks[0], how.probe_mm),
        "overlap": _overlap(*masks, found),
        **_motion(matrix, masks[1]),
    }
    return Rigid(matrix, quality, _warnings(quality, how))


def rigid_brains(
    fixed: Image, moving: Image, fixed_brain: Image, *, uneven: bool = False, seed: int = 1
) -> Rigid:
    """Register two scans of one head by their brains; the one of ``moving`` is found first.

    An ``uneven`` moving scan has the intensities of its coils, which are taken out.
    """
    found = rough_brain_mask(moving)
    how = UNEVEN if uneven else RigidRegistration()
    return rigid(fixed, moving, fixed_mask=fixed_brain, moving_mask=found, settings=how, seed=seed)


def _matched(
    target: Image,
    source: Image,
    target_mask: Image,
    start: Affine,
    how: RigidRegistration,
    seed: int,
) -> Affine:
    """Return where points of the target lie in the source: searched coarsely, then refined."""
    # The mask of the moving image would make the metric fall silent at the rim; the fixed one
    # is enough to keep skull and neck out.
    coarse, other = (_coarser(image, how.search_mm) for image in (target, source))
    fraction = _coarser(target_mask, how.search_mm)
    inside = fraction.like(fraction.data > 0.5)
    near = align(coarse, other, (how.search,), initial=start, masks=(inside, None), seed=seed)
    # Measured on three simulated heads: a fiftieth of the voxels of 1 mm leaves 0.02 mm more than a
    # tenth, at a fifth of the cost.
    fine = replace(how.refine, sampling=min(1.0, how.samples / target.data.size))
    return align(target, source, (fine,), initial=near, masks=(target_mask, None), seed=seed)


def _coarser(image: Image, size_mm: float) -> Image:
    """Return an image with voxels of a size, or of its own smallest side where that is larger."""
    size_mm = max(size_mm, float(voxel_sizes_mm(image.affine).min()))
    return isotropic(image.like(image.data.astype(np.float32)), size_mm)


def _even(image: Image, mask: Image) -> Image:
    """Return an image without the gain of its coils."""
    # Mutual information takes a gain for anatomy: dark middles were matched with ventricles.
    return bias_corrected(image, mask, GAIN)


def _framed(image: Image, mask: Image | None) -> tuple[Image, Image]:
    """Bring an image and its mask upright, and cut away what is far from the mask."""
    if mask is None:
        upright = reoriented(image)
        return upright, upright.like(np.isfinite(upright.data))
    # The margin leaves both images room to move, and neck and shoulders stay outside.
    frame = Frame.around(mask, 15.0)
    inside = frame.cut(mask)
    return frame.cut(image), inside.like(inside.data > 0)


def _start(target: Image, source: Image, target_mask: Image, source_mask: Image) -> Affine:
    """Begin from the scanner's frame or from matching centres, whichever shares more."""
    # A translation alone: both images are upright here, and the scanner's frame holds the tilt.
    centres = np.eye(4)
    centres[:3, 3] = _centre(source_mask) - _centre(target_mask)
    scores = [_information(target, source, step, target_mask) for step in (np.eye(4), centres)]
    return np.eye(4) if scores[0] >= scores[1] else centres


def _centre(mask: Image) -> NDArray[np.float64]:
    voxel = np.array(ndimage.center_of_mass(mask.data))
    return apply(mask.affine, voxel)


def _points(mask: Image, limit: int = 60_000) -> NDArray[np.float64]:
    """Voxel indices of a mask, thinned evenly."""
    voxels = np.argwhere(mask.data)
    # Every n-th voxel and not a random choice: the same image always gives the same figure.
    return voxels[:: max(1, len(voxels) // limit)].astype(np.float64)


def _information(target: Image, source: Image, matrix: Affine, target_mask: Image) -> float:
    """Return the normalised mutual information (Studholme 1999) of two images in a mask."""
    voxels = _points(target_mask)
    there = apply(between(source.affine, target.affine, matrix), voxels)
    # Only what both scans cover counts, or a shift out of the field of view would look better.
    limits = np.array(source.shape) - 1
    seen = ((there >= 0) & (there <= limits)).all(1)
    # A joint histogram with fewer points than bins looks informative by chance alone.
    if seen.sum() < 1000:
        return 1.0
    index = tuple(voxels[seen].astype(int).T)
    first = target.data[index].astype(np.float64)
    second = ndimage.map_coordinates(source.data.astype(np.float32), there[seen].T, order=1)
    rows, columns = (_binned(values) for values in (first, second))
    joint = np.bincount(rows * BINS + columns, minlength=BINS**2).reshape(BINS, BINS)
    share = joint / joint.sum()
    entropies = [_entropy(share.sum(1)), _entropy(share.sum(0)), _entropy(share.ravel())]
    # Two constant images have no joint entropy at all.
    return (entropies[0] + entropies[1]) / max(entropies[2], 1e-12)


def _binned(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the bin of each value; vessels and fat, who would take most bins, share the last."""
    low, high = np.quantile(values, (0.005, 0.995))
    place = (values - low) * (BINS / max(high - low, 1e-12))
    return np.asarray(np.clip(place, 0, BINS - 1), np.intp)


def _entropy(share: NDArray[np.float64]) -> float:
    positive = share[share > 0]
    return float(-(positive * np.log(positive)).sum())


def _sharpness(
    target: Image, source: Image, matrix: Affine, target_mask: Image, probe_mm: float
) -> float:
    best = _information(target, source, matrix, target_mask)
    losses = []
    for axis in range(3):
        for sign in (-1, 1):
            shift = np.eye(4)
            shift[axis, 3] = sign * probe_mm
            # A shift of the fixed points before the match: the probe follows the axes of the fixed
            # scan.
            losses.append(best - _information(target, source, matrix @ shift, target_mask))
    return min(losses) / max(best - 1, 1e-6)


def _overlap(target_mask: Image, source_mask: Image, matrix: Affine) -> float:
    """Return the share of the source's mask that lies inside the target's mask."""
    voxels = _points(source_mask)
    step = between(target_mask.affine, source_mask.affine, np.linalg.inv(matrix))
    there = np.rint(apply(step, voxels)).astype(int)
    seen = ((there >= 0) & (there < np.array(target_mask.shape))).all(1)
    # Outside the target's frame, which is cut around its brain, there is no brain either.
    return float(target_mask.data[tuple(there[seen].T)].sum()) / len(voxels)


def _motion(matrix: Affine, mask: Image) -> dict[str, float]:
    # The matrix takes points of the moving scan: the centre must be that of the moving brain.
    centre = _centre(mask)
    shift = apply(matrix, centre) - centre
    # The trace of a rotation is 1 + 2 cos(angle); rounding can leave it outside the domain of
    # arccos.
    angle = np.arccos(np.clip((np.trace(matrix[:3, :3]) - 1) / 2, -1, 1))
    return {"shift_mm": float(np.linalg.norm(shift)), "rotation_deg": float(np.rad2deg(angle))}


def _warnings(quality: dict[str, float], how: RigidRegistration) -> tuple[ScanWarning, ...]:
    found: list[ScanWarning] = []
    # Where a shift costs little, the images were not matched by what they show.
    if quality["sharpness"] <= how.min_sharpness:
        found.append(RegistrationNotSharp(how.probe_mm))
    if quality["overlap"] < how.min_overlap:
        found.append(BrainsDoNotOverlap(100 * quality["overlap"], 100 * how.min_overlap))
    return tuple(found)
