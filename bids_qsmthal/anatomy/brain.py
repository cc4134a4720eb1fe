"""The brain in an image of a head: a mask that holds brain and the fluid round it.

The two networks are those of deepbet (Fisch et al. 2024, doi 10.1016/j.compbiomed.2024.108845;
MIT licence), converted to ONNX. The first finds the box of the brain in a coarse image, the
second outlines the brain inside that box.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage
from scipy.special import ndtr

from bids_qsmthal.core.affine import with_origin
from bids_qsmthal.core.crop import Crop, between
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.image import Image, reoriented, resample
from bids_qsmthal.core.interpolation import linear
from bids_qsmthal.core.scan_warnings import BrainAtImageEdge, BrainVolumeImplausible, ScanWarning

if TYPE_CHECKING:
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

COARSE_SHAPE = (128, 128, 128)
FINE_SHAPE = (256, 256, 256)
"""The shapes that the networks were trained on."""

BLUR_MM = 1.0
"""Width of the Gaussian that tells depth: a blurred border has the height ndtr(depth / width)."""

MIN_PLANE_SHARE = 0.02
"""A plane belongs to the box where the coarse mask covers more than this fraction (deepbet)."""

LEAST_EXTENT_MM = 60.0
"""Thinner slabs show too little of a head for the networks, which know whole ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrainExtraction:
    """How the brain is outlined.

    Attributes
    ----------
    threshold
        Probability from which a voxel is brain.
    inset_mm
        The brain ends this far inside the network's outline, which takes in arachnoid and part of
        the dura. The median of what makes its volume that of five brains outlined by others: 0.35,
        0.75, 0.8, 0.8 and 1.9 mm (``docs/anatomy.md``).
    box_margin
        Margin round the coarse box, as a fraction of its size on each side (deepbet).
    plausible_volume_ml
        Smallest and largest intracranial volume of a child's or an adult's whole head
        (newborns to the largest adults, doi 10.1038/s41586-022-04554-y); outside, the caller
        is warned.
    threads
        Threads of the networks; part of what makes a result repeat to the bit.
    """

    threshold: float = 0.5
    inset_mm: float = 0.8
    box_margin: float = 0.1
    plausible_volume_ml: tuple[float, float] = (700.0, 2200.0)
    threads: int = 1


def brain_mask(image: Image, *, settings: BrainExtraction | None = None) -> Image:
    """Outline the brain in an image of any contrast and orientation.

    Parameters
    ----------
    image
        The head or the brain, shape (x, y, z); any voxel size.
    settings
        How; the defaults if not given.

    Returns
    -------
    Image
        Boolean, on the grid of ``image``: brain and the fluid inside the skull, in one piece
        and without holes.

    Raises
    ------
    DataError
        The image is flat or constant, or nothing in it looks like a brain.
    """
    how = settings or BrainExtraction()
    upright, coarse, (low, high) = _coarse(image, how)
    box = _box(coarse, upright.shape, how.box_margin)
    fine = _normalised(_sampled_nearest(box.cut(upright.data), FINE_SHAPE), low, high)
    inside = _infer("deepbet_mask", fine, how.threads) > how.threshold
    extent_mm = np.array(box.shape) * upright.grid.voxel_size_mm
    # The border is moved by a level of the blurred mask and not by erosion: 0.8 mm is less than a
    # voxel.
    blurred = ndimage.gaussian_filter(
        inside.astype(np.float32), BLUR_MM * np.array(FINE_SHAPE) / extent_mm, truncate=3
    )
    mask = box.paste(_sampled_linear(blurred, box.shape) > ndtr(how.inset_mm / BLUR_MM))
    # Holes last: a piece that was dropped inside one is filled again.
    mask = ndimage.binary_fill_holes(_largest_component(mask))
    return _turned_back(mask, upright, image)


def rough_brain_mask(image: Image, *, settings: BrainExtraction | None = None) -> Image:
    """Return where the brain lies, as the coarse network alone sees it.

    To a voxel of its grid (2 mm in a head of 256 mm), at a tenth of the cost of ``brain_mask``:
    enough to frame a brain and to start a registration. Arguments, form and errors are those of
    ``brain_mask``.
    """
    upright, coarse, _ = _coarse(image, settings or BrainExtraction())
    mask = _sampled_linear(coarse.astype(np.float32), upright.shape) > 0.5
    return _turned_back(mask, upright, image)


def _coarse(
    image: Image, how: BrainExtraction
) -> tuple[Image, NDArray[np.bool_], tuple[float, float]]:
    """Return the upright head, its brain on the coarse grid, and the range of intensities."""
    _check(image)
    turned = reoriented(image)
    head = np.nan_to_num(turned.data.astype(np.float32), posinf=0.0, neginf=0.0)
    coarse = _sampled_nearest(head, COARSE_SHAPE)
    # Of the whole head, and used for both networks, so that the second sees the contrast of the
    # first.
    low, high = np.quantile(coarse, (0.005, 0.995)).tolist()
    if high <= low:
        raise DataError("brain extraction: the image is constant; give an image of a head.")
    probability = _infer("deepbet_box", _normalised(coarse, low, high), how.threads)
    return turned.like(head), _largest_component(probability > how.threshold), (low, high)


def _turned_back(mask: NDArray[np.bool_], upright: Image, image: Image) -> Image:
    # The same voxels in another order: nearest neighbour is exact here.
    found = resample(Image(mask.astype(np.uint8), upright.affine), image, order=0)
    return found.like(found.data > 0)


def volume_warnings(mask: Image, *, settings: BrainExtraction | None = None) -> list[ScanWarning]:
    """Return what is odd about a brain mask: its volume, or that it touches the edges."""
    how = settings or BrainExtraction()
    low, high = how.plausible_volume_ml
    volume_ml = float(mask.data.sum()) * mask.voxel_volume_mm3 / 1000
    found: list[ScanWarning] = []
    if not low <= volume_ml <= high:
        found.append(BrainVolumeImplausible(volume_ml, low, high))
    borders = [mask.data.take(index, axis).any() for axis in range(3) for index in (0, -1)]
    if any(borders):
        found.append(BrainAtImageEdge(int(sum(borders))))
    return found


def _check(image: Image) -> None:
    if image.data.ndim != 3:
        raise DataError(
            f"brain extraction: the image has shape {image.data.shape}, expected three axes of "
            "space; give one volume."
        )
    extent_mm = np.array(image.shape) * image.grid.voxel_size_mm
    if min(image.shape) < 8 or extent_mm.min() < LEAST_EXTENT_MM:
        size = " x ".join(f"{length:.0f}" for length in extent_mm)
        raise DataError(
            f"brain extraction: the image has {image.shape} voxels over {size} mm, expected a head "
            "in three dimensions; give a 3-D scan."
        )


def _normalised(head: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    """Bring intensities to those the networks know."""
    scaled = np.clip((head - low) / (high - low), 0.0, 1.0)
    # ddof=1 as in PyTorch, with which the networks were trained.
    standard = (scaled - scaled.mean()) / scaled.std(ddof=1)
    # Mean and spread of ImageNet's three channels (0.485, 0.456, 0.406; 0.229, 0.224, 0.225),
    # averaged to one.
    result: NDArray[np.float32] = (0.226 * standard + 0.449).astype(np.float32)
    return result


def _sampled_nearest(data: NDArray[np.float32], shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Sample at the voxel that holds each new voxel's centre, as the networks were trained."""
    index = [
        np.floor((np.arange(new) + 0.5) * old / new).astype(int)
        for new, old in zip(shape, data.shape, strict=True)
    ]
    return data[np.ix_(*index)]


def _sampled_linear(data: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Sample trilinearly; voxel grids cover the same box."""
    step = np.array(data.shape) / np.array(shape)
    to_data = with_origin(np.diag([*step, 1.0]), 0.5 * step - 0.5)
    return linear(data, to_data, shape, beyond="nearest")


def _largest_component(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    labels, count = ndimage.label(mask)
    if count == 0:
        raise DataError(
            "brain extraction: nothing in the image looks like a brain; check that it shows a "
            "head, or give a brain mask."
        )
    largest: NDArray[np.bool_] = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    return largest


def _box(mask: NDArray[np.bool_], shape: tuple[int, int, int], margin: float) -> Crop:
    """Return the box of a coarse mask in voxels of the full image, with its margin."""
    starts, ends = [], []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        planes = np.nonzero(mask.mean(axis=others) > MIN_PLANE_SHARE)[0]
        if planes.size == 0:
            raise DataError(
                "brain extraction: the part that looks like a brain is too small to be one; check "
                "that the image shows a whole head, or give a brain mask."
            )
        scale = shape[axis] / mask.shape[axis]
        # Planes are cells: the last one ends at its index + 1.
        middle = scale * (planes[-1] + 1 + planes[0]) / 2
        half = scale * (planes[-1] + 1 - planes[0]) * (1 + 2 * margin) / 2
        starts.append(round(middle - half))
        ends.append(round(middle + half))
    return between(starts, ends, shape)


def _infer(name: str, head: NDArray[np.float32], threads: int) -> NDArray[np.float32]:
    """Return the probability of brain, same shape as the input."""
    outputs = _network(name, threads).run(None, {"image": head[None, None]})
    probability: NDArray[np.float32] = outputs[0][0, 1]
    return probability


@lru_cache(maxsize=2)
def _network(name: str, threads: int) -> Any:  # noqa: ANN401 - onnxruntime is untyped
    # From 1.29 on it reports to its makers over the network, unless told not to before it starts.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    # Sums of float32 depend on how threads split them: the number is fixed so that results repeat.
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # The arena would hold on to the gigabyte of the largest layer between participants.
    options.enable_cpu_mem_arena = False
    with as_file(files("bids_qsmthal") / "data" / "weights" / f"{name}.onnx") as path:
        return onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
