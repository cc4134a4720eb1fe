"""Random multiple sclerosis lesions as level sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.core.affine import voxel_sizes_mm
from bids_qsmthal.core.crop import around_each, margin_voxels
from bids_qsmthal.core.image import Image, reoriented

if TYPE_CHECKING:
    from collections.abc import Sequence

Float = NDArray[np.float32]

SITES: Final = {"periventricular": 0.5, "deep": 0.3, "juxtacortical": 0.2}
"""Fraction of the seeds; McDonald criteria name these sites (infratentorial ones are left out)."""

EMPTY_MM: Final = 9.0

SOFT_MM: Final = 0.5

MARGIN_MM: Final = 4.0
"""Round a lesion of a mask: the border of all moves by 2 mm at most to meet their volume."""


@dataclass(frozen=True, slots=True, eq=False)
class Terrain:
    """Where lesions may grow, on a grid of the head.

    Attributes
    ----------
    white
        Fraction of white matter, with the grid.
    ventricle
        Fraction of the lateral ventricles.
    """

    white: Image
    ventricle: Float


@dataclass(frozen=True, slots=True, eq=False)
class DrawnLesions:
    """Level sets in mm, negative inside; enhancing lesions are apart."""

    level: Image
    enhancing: Image


def draw_lesions(
    terrain: Terrain,
    *,
    lesion_ml: float,
    enhancing: int,
    enhancing_radius_mm: tuple[float, float],
    generator: np.random.Generator,
    shapes: Sequence[Float] = (),
) -> DrawnLesions:
    """Draw lesions until their volume is reached, then move all borders to meet it.

    Parameters
    ----------
    terrain
        Tissue of the participant.
    lesion_ml
        Volume of all lesions, enhancing ones included.
    enhancing
        Number of enhancing lesions.
    enhancing_radius_mm
        Smallest and largest radius of those.
    generator
        Source of randomness.
    shapes
        Level sets that lesions without enhancement take in place of blobs, on the steps of the
        terrain.
    """
    grid = terrain.white
    step_mm = float(grid.voxel_volume_mm3 ** (1 / 3))
    level = np.full(grid.shape, EMPTY_MM, np.float32)
    active = level.copy()
    # About millimetres, to be compared with level sets; negative where white matter prevails.
    allowed = (0.5 - terrain.white.data) * 4
    seeds = _seeds(terrain, step_mm, generator)
    for _ in range(enhancing):
        centre = _free_seed(seeds, active, generator)
        _grow(active, centre, generator.uniform(*enhancing_radius_mm), step_mm, generator)
    # Cut by the white matter after all have grown, as a lesion does not leave it.
    active = np.maximum(active, allowed)
    wanted_mm3 = lesion_ml * 1000
    volume = _volume_mm3(np.minimum(level, active), step_mm)
    for _ in range(4000):
        if volume >= wanted_mm3:
            break
        for _ in range(4):
            if shapes:
                shape = shapes[int(generator.integers(len(shapes)))]
                _stamp(level, _seed(seeds, generator), shape, generator)
                continue
            # Median radius 2.1 mm (e^0.75), with a tail of large ones: most lesions are small.
            radius_mm = min(float(generator.lognormal(0.75, 0.5)), 9.0)
            _grow(level, _seed(seeds, generator), radius_mm, step_mm, generator)
        volume = _volume_mm3(np.maximum(level, allowed), step_mm) + _volume_mm3(active, step_mm)
    level = np.maximum(level, allowed)
    # Enhancing lesions stand alone: the others keep 2 mm away.
    level = np.maximum(level, 2.0 - active)
    rest_mm3 = wanted_mm3 - _volume_mm3(active, step_mm)
    level = _with_volume(level, max(rest_mm3, 0.0), step_mm)
    return DrawnLesions(grid.like(level), grid.like(active))


def _seeds(
    terrain: Terrain, step_mm: float, generator: np.random.Generator
) -> dict[str, NDArray[np.intp]]:
    """Return candidate centres for each site, shuffled, shape (n, 3)."""
    white = terrain.white.data > 0.8
    from_ventricle = ndimage.distance_transform_edt(terrain.ventricle < 0.5, step_mm)
    depth = ndimage.distance_transform_edt(white, step_mm)
    height = np.arange(white.shape[2]) * step_mm + terrain.white.affine[2, 3]
    # Head mm: the axes of the terrain's grid are those of the head.
    supratentorial = white & (height > -15)[None, None, :]
    masks = {
        "periventricular": supratentorial & (from_ventricle < 5),
        "deep": supratentorial & (depth > 4) & (from_ventricle > 8),
        "juxtacortical": supratentorial & (depth < 3) & (from_ventricle > 15),
    }
    return {name: generator.permutation(np.argwhere(mask)) for name, mask in masks.items()}


def _seed(seeds: dict[str, NDArray[np.intp]], generator: np.random.Generator) -> NDArray[np.intp]:
    # A head with wide ventricles and little white matter may have no place that is deep.
    share = np.array([SITES[site] * (len(seeds[site]) > 0) for site in SITES])
    site = str(generator.choice(list(SITES), p=share / share.sum()))
    candidates = seeds[site]
    return np.asarray(candidates[generator.integers(len(candidates))])


def _free_seed(
    seeds: dict[str, NDArray[np.intp]], level: Float, generator: np.random.Generator
) -> NDArray[np.intp]:
    """Return a seed at least 6 mm from the lesions so far."""
    for _ in range(100):
        seed = _seed(seeds, generator)
        if level[tuple(seed)] > 6:
            break
    return seed


def _grow(
    level: Float,
    centre: NDArray[np.intp],
    radius_mm: float,
    step_mm: float,
    generator: np.random.Generator,
) -> None:
    """Add a blob to a level set: an ellipsoid, bent by smooth noise."""
    stretch = generator.uniform(0.75, 1.5, 3)
    # Volume one: the radius alone says how large the lesion is.
    stretch /= np.prod(stretch) ** (1 / 3)
    # The orthogonal factor of a Gaussian matrix has no preferred direction.
    turn = np.linalg.qr(generator.standard_normal((3, 3)))[0]
    reach = int(np.ceil((radius_mm * 1.8 + 3) / step_mm))
    low = np.maximum(centre - reach, 0)
    high = np.minimum(centre + reach + 1, level.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    away = (
        np.stack(
            np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij"),
            -1,
        )
        - centre
    )
    away = (away * step_mm) @ turn / stretch
    noise = ndimage.gaussian_filter(
        generator.standard_normal(away.shape[:3]), max(radius_mm / 2.5 / step_mm, 0.8)
    )
    # Relative to the radius: small lesions would fall apart by what bends large ones.
    noise *= 0.22 * radius_mm / max(float(noise.std()), 1e-9)
    blob = np.linalg.norm(away, axis=-1) - radius_mm + noise
    level[box] = np.minimum(level[box], blob)


def _stamp(
    level: Float, centre: NDArray[np.intp], shape: Float, generator: np.random.Generator
) -> None:
    """Add a shape to a level set, its middle at a place; left and right may be exchanged."""
    turned = shape[::-1] if generator.random() < 0.5 else shape
    start = centre - np.array(shape.shape) // 2
    low, high = np.maximum(start, 0), np.minimum(start + shape.shape, level.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    part = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
    level[box] = np.minimum(level[box], turned[part])


def lesion_shapes(mask: Image, step_mm: float) -> tuple[Float, ...]:
    """Return each lesion of a mask as a level set (mm, negative inside) of its own.

    Parameters
    ----------
    mask
        Lesions, not zero.
    step_mm
        Of the grids that come back, axes those nearest to R, A, S. A lesion so small that no voxel
        of its grid lies in it has no shape.
    """
    # Lesions that touch at a corner are one, as the truth counts them.
    numbers, _ = ndimage.label(mask.data != 0, np.ones((3, 3, 3)))
    margin = margin_voxels(MARGIN_MM, voxel_sizes_mm(mask.affine).tolist())
    levels = [
        _level_mm(reoriented(crop.of(mask.like((numbers == number).astype(np.uint8)))), step_mm)
        for number, crop in around_each(numbers, margin=margin)
    ]
    return tuple(level for level in levels if level.min() < 0)


def _level_mm(lesion: Image, step_mm: float) -> Float:
    """Return the signed distance from the border of a mask in steps of a length, mm."""
    size_mm = voxel_sizes_mm(lesion.affine)
    beyond, within = (
        ndimage.distance_transform_edt(mask, size_mm) for mask in (lesion.data == 0, lesion.data)
    )
    # From centre to centre: as much too far outside as inside, so that zero is the border. The
    # steps of voxels go: faces that all move at once could not meet a volume.
    level = ndimage.gaussian_filter(beyond - within, SOFT_MM / size_mm)
    zoom = step_mm / size_mm
    shape = tuple(int(np.ceil(n / z)) for n, z in zip(level.shape, zoom, strict=True))
    return np.asarray(
        ndimage.affine_transform(
            level, np.diag(zoom), output_shape=shape, output=np.float32, order=1, cval=EMPTY_MM
        )
    )


def _volume_mm3(level: Float, step_mm: float) -> float:
    """Count as the masks of the truth do: a point belongs to a lesion or does not."""
    return float((level < 0).sum()) * step_mm**3


def _with_volume(level: Float, wanted_mm3: float, step_mm: float) -> Float:
    """Move the border in or out, by 2 mm at most, until the volume is as wanted."""
    low, high = -2.0, 2.0
    if wanted_mm3 <= 0:
        return np.full_like(level, EMPTY_MM)
    # Bisection of 4 mm: 25 halvings reach single precision.
    for _ in range(25):
        middle = (low + high) / 2
        if _volume_mm3(level + np.float32(middle), step_mm) > wanted_mm3:
            low = middle
        else:
            high = middle
    return level + np.float32((low + high) / 2)
