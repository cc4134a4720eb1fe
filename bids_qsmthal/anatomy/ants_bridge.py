"""The one door to ANTs: images there and back, registration by stages.

ANTs keeps points in LPS; everything else here keeps RAS. What comes back from this module holds
arrays and RAS matrices only, so that it can be pickled, compared and cached.

Registrations are described to ``antsRegistration`` word by word, because the Python interface of
antspyx hides the seed and the sampling. A given seed gives the same result with one thread, which
the command line gives ITK before it is loaded (``ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS``); more
threads add up the metric in the order in which they come.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import ants
import numpy as np
from ants.internal import get_lib_fn, get_pointer_string, process_arguments
from numpy.typing import NDArray

from bids_qsmthal.core.errors import DataError, ReadWriteError
from bids_qsmthal.core.image import Affine, Image

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

AntsImage: TypeAlias = Any
"""``ants.ANTsImage``; the package is untyped."""

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])

COPIES = 24
"""More single-precision copies of an image than ITK holds at once. Measured on 120^3 voxels with a
limit of the address space: a registration fails below 8 to 23 copies."""

THREADS_BYTES = 128 * 2**20
"""Stacks and heaps of its threads."""

MAX_SHEAR = 1e-3
"""Largest cosine between two axes of a grid that ITK can hold (it knows no shear)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationStage:
    """One stage of a registration, in the words of ``antsRegistration``.

    Attributes
    ----------
    transform
        Such as ``Rigid[0.1]`` or ``Affine[0.1]``.
    metric
        ``MI`` (mutual information, 32 bins) or ``CC`` (cross-correlation, radius 2).
    iterations, shrink, smooth_voxels
        One number for each level, coarse to fine.
    sampling
        Share of the voxels that mutual information looks at.
    """

    transform: str
    metric: str
    iterations: tuple[int, ...]
    shrink: tuple[int, ...]
    smooth_voxels: tuple[float, ...]
    sampling: float = 0.25


def to_ants(image: Image) -> AntsImage:
    """Hand a volume to ANTs as float.

    Raises
    ------
    DataError
        The axes of the image are not at right angles, which ITK cannot hold.
    """
    axes = (RAS_TO_LPS @ image.affine)[:3, :3]
    size = np.linalg.norm(axes, axis=0)
    direction = axes / size
    # Directions are unit vectors, so what is off the diagonal of their products is the cosine
    # between two axes.
    shear = np.abs(direction.T @ direction - np.eye(3)).max()
    if shear > MAX_SHEAR:
        raise DataError(
            f"registration: the axes of the image are sheared (cosine {shear:.3f} between two "
            "axes, expected 0); resample it to a grid with right angles."
        )
    origin = (RAS_TO_LPS @ image.affine)[:3, 3]
    # One NaN would spread over the image through ITK's smoothing and make the metric NaN.
    data = np.nan_to_num(np.ascontiguousarray(image.data, dtype=np.float32), posinf=0, neginf=0)
    return ants.from_numpy(data, origin.tolist(), size.tolist(), direction)


@contextmanager
def _memory_told(image: Image) -> Iterator[None]:
    """Tell want of memory from other failures of ITK, which raises the same for both.

    Raises
    ------
    MemoryError
        ITK failed, and there is not as much memory as it may take for such an image.
    """
    try:
        yield
    except RuntimeError:
        _ask_for_memory(image)
        raise


def _ask_for_memory(image: Image) -> None:
    """Raise ``MemoryError`` where what ITK may take for an image cannot be had; nothing is kept."""
    np.empty(THREADS_BYTES + COPIES * image.data.size * 4, np.uint8)


def align(
    fixed: Image,
    moving: Image,
    stages: Sequence[RegistrationStage],
    *,
    initial: Affine | None = None,
    masks: tuple[Image | None, Image | None] = (None, None),
    seed: int = 1,
) -> Affine:
    """Register two images linearly: 4x4 on RAS points, fixed world to moving world.

    Parameters
    ----------
    fixed, moving
        Volumes, shape (x, y, z).
    stages
        What to do, in order.
    initial
        4x4 RAS matrix, fixed world to moving world, to start from; the centres of mass by default.
    masks
        Where the metric looks, in the fixed and in the moving image.
    seed
        Of the random sampling.

    Raises
    ------
    DataError
        ANTs gave up.
    MemoryError
        It did, and memory is short.
    ReadWriteError
        Its result could not be written.
    """
    larger = max(fixed, moving, key=lambda image: image.data.size)
    with tempfile.TemporaryDirectory(prefix="align-") as folder, _memory_told(larger):
        prefix = f"{folder}/found"
        pointers = _Pointers(fixed, moving, masks)
        # Single precision, a fixed seed: one thread gives the same bits every time.
        words = ["-d", "3", "--float", "1", "--random-seed", str(seed), "-o", f"[{prefix}]"]
        # No matching of histograms: contrasts may differ. Linear stages are written as one matrix.
        # Half a per cent at each end is clipped, so that vessels and fat do not take most of the
        # bins of the metric.
        words += ["-u", "0", "-z", "1", "--winsorize-image-intensities", "[0.005,0.995]"]
        words += pointers.masks
        words += ["-r", _initial(pointers, initial, Path(folder))]
        for stage in stages:
            words += _words(stage, pointers.pair)
        if get_lib_fn("antsRegistration")(process_arguments(words)) != 0:
            # ANTs prints the reason and gives no other value.
            _ask_for_memory(larger)
            raise DataError(
                "registration: ANTs could not align the two images; check that both show the head."
            )
        return _linear(Path(folder) / "found0GenericAffine.mat")


class _Pointers:
    """Images as the words by which ANTs finds them in memory; keeps them alive meanwhile."""

    def __init__(
        self, fixed: Image, moving: Image, masks: tuple[Image | None, Image | None]
    ) -> None:
        self._images = [to_ants(fixed), to_ants(moving)]
        self._masks = [_mask(mask, of) for mask, of in zip(masks, (fixed, moving), strict=True)]
        self.pair = ",".join(get_pointer_string(image) for image in self._images)
        given = any(mask is not None for mask in masks)
        names = ",".join(get_pointer_string(mask) for mask in self._masks)
        self.masks = ["-x", f"[{names}]"] if given else []


def _mask(mask: Image | None, of: Image) -> AntsImage:
    """Hand a mask to ANTs; everywhere when none is given."""
    chosen = np.ones(of.shape) if mask is None else mask.data > 0
    return to_ants(of.like(chosen)).clone("unsigned char")


def _initial(pointers: _Pointers, initial: Affine | None, folder: Path) -> str:
    if initial is None:
        # The 1 means centres of mass; 0 would be the centres of the grids, 2 the origins.
        return f"[{pointers.pair},1]"
    path = folder / "initial.txt"
    path.write_text(itk_affine_text(initial))
    return str(path)


def _words(stage: RegistrationStage, pair: str) -> list[str]:
    metric = (
        # Regular: every n-th voxel, moved at random within it, which is what the seed is for.
        f"MI[{pair},1,32,Regular,{stage.sampling:g}]" if stage.metric == "MI" else f"CC[{pair},1,2]"
    )
    iterations = "x".join(f"{count:d}" for count in stage.iterations)
    return [
        # A level ends when the slope of the metric over its last 10 iterations falls below 1e-6.
        *("-t", stage.transform, "-m", metric, "-c", f"[{iterations},1e-6,10]"),
        *("-f", "x".join(f"{factor:d}" for factor in stage.shrink)),
        *("-s", "x".join(f"{sigma:g}" for sigma in stage.smooth_voxels)),
    ]


def _linear(path: Path) -> Affine:
    try:
        found = ants.read_transform(str(path))
    except (RuntimeError, ValueError) as error:  # damaged; not there
        raise ReadWriteError(
            f"{path}: the result of the registration that ANTs wrote cannot be read; free space "
            "in the folder for temporary files (TMPDIR), then run the same command again."
        ) from error
    matrix, centre = np.asarray(found.parameters), np.asarray(found.fixed_parameters)
    return ras_from_itk(matrix, centre)


def ras_from_itk(parameters: NDArray[np.float64], centre: NDArray[np.float64]) -> Affine:
    """Turn the 12 parameters and the centre of an ITK affine (LPS) into a RAS 4x4."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(parameters[:9], (3, 3))
    # ITK turns about a centre: x -> A (x - c) + c + t.
    matrix[:3, 3] = parameters[9:12] + centre - matrix[:3, :3] @ centre
    # The flip of two axes is its own inverse, so the same matrix stands on both sides.
    ras: Affine = RAS_TO_LPS @ matrix @ RAS_TO_LPS
    return ras


def itk_affine_text(matrix: Affine) -> str:
    """Write a 4x4 matrix on RAS points as an ITK text transform (which is on LPS points).

    A resampler (``antsApplyTransforms``) maps points of the reference image to the moving image,
    so the file ``from-A_to-B_mode-image`` holds the map of points from B to A.
    """
    itk = RAS_TO_LPS @ matrix @ RAS_TO_LPS
    # ``repr`` is the shortest text that reads back to the same double: a round trip loses no bit.
    numbers = " ".join(repr(float(value)) for value in [*itk[:3, :3].ravel(), *itk[:3, 3]])
    return (
        "#Insight Transform File V1.0\n#Transform 0\n"
        "Transform: AffineTransform_double_3_3\n"
        f"Parameters: {numbers}\nFixedParameters: 0 0 0\n"
    )


def read_itk_affine_text(text: str) -> Affine:
    """Read what ``itk_affine_text`` writes, or any ITK text affine.

    Raises
    ------
    DataError
        The text holds no 12-parameter transform.
    """
    found: dict[str, NDArray[np.float64]] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        if name in ("Parameters", "FixedParameters"):
            found[name] = np.array([float(word) for word in rest.split()])
    if found.get("Parameters", np.empty(0)).size != 12:
        raise DataError("transform: the file has no ITK affine with 12 parameters; write it again.")
    return ras_from_itk(found["Parameters"], found.get("FixedParameters", np.zeros(3)))
