"""A block of white matter with lesions of known iron: rims, solid ones and plain ones.

Many lesions share one block, so that one field and one inversion serve them all. Rims of 20 to
80 ppb and one to two voxels stand for those of chronic active lesions (Dal-Bianco et al. 2017,
doi:10.1007/s00401-016-1636-z). Lesions with iron throughout and those that only lost myelin must be
told from them; veins cross a third of all (the central vein, Sati et al. 2016,
doi:10.1038/nrneurol.2016.166).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.core.grid import Grid
from bids_qsmthal.simulate.fields import dipole_field

if TYPE_CHECKING:
    from bids_qsmthal.core.grid import Array, Mask

Float = NDArray[np.float32]
Triple = tuple[float, float, float]

SIDE_MM: Final = (96.0, 96.0, 72.0)
FINE_MM: Final = 0.5  # a rim of one voxel of 1 mm is two points thick
GAP_MM: Final = 4.0  # each lesion has surroundings of its own
SOLID_SHARE, RIM_SHARE, VEIN_SHARE = 0.4, 0.2, 1 / 3
RADIUS_MM: Final = (1.5, 7.5)
RIM_PPB, SOLID_PPB, PLAIN_PPB = (20.0, 80.0), (15.0, 60.0), (0.0, 15.0)
"""Above white matter; the inside of a rim is plain, and the rim counts above that."""
VEIN_PPB: Final = 350.0  # blood at an oxygenation of 60 % and a haematocrit of .4
CSF_PPB: Final = 20.0
TEXTURE_PPB: Final = 4.0
VENTRICLE_MM: Final = (7.0, 22.0, 8.0)


class LesionKind(IntEnum):
    """Where a lesion has iron."""

    PLAIN = 0
    SOLID = 1
    RIM = 2


@dataclass(frozen=True, slots=True)
class DrawnLesion:
    """One lesion: its place, radius and what it is made of.

    Attributes
    ----------
    strength_ppb
        Of a rim above the inside, or of the whole above white matter.
    width_mm
        Of the rim; zero without one.
    """

    centre_mm: Triple
    radius_mm: float
    kind: LesionKind
    strength_ppb: float
    width_mm: float
    vein: bool


@dataclass(frozen=True, slots=True, eq=False)
class LesionBlock:
    """A block as a scan samples it.

    Attributes
    ----------
    field_ppm, chi_ppm
        Noisy local field, and the truth, averaged over each voxel.
    share
        Fraction of each voxel in a lesion.
    labels
        Place in ``lesions``, from 1, of what fills most of a voxel; 0 for none.
    inside, fluid
        The ellipsoid of white matter, and the ventricle in it.
    """

    grid: Grid
    field_ppm: Float
    chi_ppm: Float
    share: Float
    labels: NDArray[np.int32]
    inside: Mask
    fluid: Mask
    lesions: tuple[DrawnLesion, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Canvas:
    """The fine grid, which is drawn on."""

    axes_mm: tuple[Float, Float, Float]
    step_mm: Triple
    chi_ppb: Float
    labels: NDArray[np.int32]
    generator: np.random.Generator = field(repr=False)

    def box(self, centre_mm: Triple, reach_mm: float) -> tuple[tuple[slice, ...], list[Float]]:
        """Return the part of the grid round a point, and its coordinates from there."""
        ends = [
            np.searchsorted(axis.ravel(), (c - reach_mm, c + reach_mm))
            for axis, c in zip(self.axes_mm, centre_mm, strict=True)
        ]
        slices = tuple(slice(int(low), int(high)) for low, high in ends)
        near = [
            axis.ravel()[part] - c
            for axis, part, c in zip(self.axes_mm, slices, centre_mm, strict=True)
        ]
        return slices, list(np.meshgrid(*near, indexing="ij", sparse=True))

    def smooth_noise(self, shape: tuple[int, ...], width_mm: float) -> Float:
        """Return smooth noise of unit variance."""
        white = self.generator.standard_normal(shape, dtype=np.float32)
        smooth = ndimage.gaussian_filter(white, [width_mm / step for step in self.step_mm])
        return np.asarray(smooth / max(float(smooth.std()), 1e-9))


def draw_block(
    voxel_size_mm: Triple,
    generator: np.random.Generator,
    *,
    tries: int = 400,
    noise_ppb: float = 2.0,
) -> LesionBlock:
    """Return a block of white matter with a ventricle, veins and lesions.

    Parameters
    ----------
    voxel_size_mm
        Of the scan; the block is drawn at about 0.5 mm.
    generator
        Source of randomness.
    tries
        Lesions that are tried; those without room are left out.
    noise_ppb
        Standard deviation of the field of a voxel.
    """
    factors = tuple(max(2, round(size / FINE_MM)) for size in voxel_size_mm)
    canvas = _canvas(voxel_size_mm, factors, generator)
    lesions = _lesions(min(voxel_size_mm[:2]), tries, generator)
    for number, lesion in enumerate(lesions, start=1):
        _draw(canvas, lesion, number)
    x, y, z = canvas.axes_mm
    ventricle = np.asarray(
        sum((p / half) ** 2 for p, half in zip((x, y, z), VENTRICLE_MM, strict=True)) < 1
    )
    canvas.chi_ppb[ventricle] = CSF_PPB
    canvas.labels[ventricle] = 0
    veins = [np.array(lesion.centre_mm) for lesion in lesions if lesion.vein]
    for centre in [*veins, *generator.uniform(-0.35, 0.35, (16, 3)) * SIDE_MM]:
        _add_vein(canvas, centre)
    inside = np.asarray(
        sum((p / (s / 2 - 3)) ** 2 for p, s in zip((x, y, z), SIDE_MM, strict=True)) < 1
    )
    canvas.chi_ppb[~inside] = 0
    shape = canvas.chi_ppb.shape
    whole = dipole_field(canvas.chi_ppb / np.float32(1e3), Grid(shape, canvas.step_mm))
    sampled = _block_means(whole, factors)
    noise = generator.normal(0, noise_ppb / 1e3, sampled.shape)
    seen = _block_means(inside.astype(np.float32), factors) > 0.5
    share = _block_means((canvas.labels > 0).astype(np.float32), factors)
    return LesionBlock(
        grid=Grid(sampled.shape, voxel_size_mm),
        field_ppm=np.where(seen, sampled + noise, 0).astype(np.float32),
        chi_ppm=_block_means(canvas.chi_ppb, factors) / np.float32(1e3),
        share=share,
        # Lesions keep apart: a voxel holds one at most.
        labels=np.where(share > 0.5, _in_blocks(canvas.labels, factors).max(-1), 0),
        inside=seen,
        fluid=_block_means(ventricle.astype(np.float32), factors) > 0.9,
        lesions=lesions,
    )


def _canvas(
    voxel_size_mm: Triple, factors: tuple[int, ...], generator: np.random.Generator
) -> _Canvas:
    """Return textured white matter."""
    shape = tuple(
        round(side / size) * factor
        for side, size, factor in zip(SIDE_MM, voxel_size_mm, factors, strict=True)
    )
    dx, dy, dz = (size / factor for size, factor in zip(voxel_size_mm, factors, strict=True))
    lines = [(np.arange(n) + 0.5 - n / 2) * s for n, s in zip(shape, (dx, dy, dz), strict=True)]
    x, y, z = (axis.astype(np.float32) for axis in np.ix_(*lines))
    canvas = _Canvas(
        (x, y, z), (dx, dy, dz), np.empty(shape, np.float32), np.zeros(shape, np.int32), generator
    )
    canvas.chi_ppb[...] = TEXTURE_PPB * canvas.smooth_noise(shape, 2.0)
    return canvas


def _lesions(edge_mm: float, tries: int, generator: np.random.Generator) -> tuple[DrawnLesion, ...]:
    """Draw lesions that keep apart and out of the ventricle."""
    drawn: list[DrawnLesion] = []
    for _ in range(tries):
        radius_mm = float(generator.uniform(*RADIUS_MM))
        x, y, z = generator.uniform(-0.5, 0.5, 3) * SIDE_MM
        # Inside the ellipsoid with room for itself; at the ventricle, not in it.
        outer = sum(
            (p / (s / 2 - 7 - radius_mm)) ** 2 for p, s in zip((x, y, z), SIDE_MM, strict=True)
        )
        inner = sum((p / h) ** 2 for p, h in zip((x, y, z), VENTRICLE_MM, strict=True))
        free = all(
            np.linalg.norm(np.subtract((x, y, z), other.centre_mm))
            > 1.2 * (radius_mm + other.radius_mm) + GAP_MM
            for other in drawn
        )
        if outer < 1 < inner and free:
            drawn.append(_lesion((float(x), float(y), float(z)), radius_mm, edge_mm, generator))
    return tuple(drawn)


def _lesion(
    centre_mm: Triple, radius_mm: float, edge_mm: float, generator: np.random.Generator
) -> DrawnLesion:
    kind = LesionKind(
        int(generator.choice(3, p=(1 - RIM_SHARE - SOLID_SHARE, SOLID_SHARE, RIM_SHARE)))
    )
    strength = {LesionKind.PLAIN: PLAIN_PPB, LesionKind.SOLID: SOLID_PPB, LesionKind.RIM: RIM_PPB}[
        kind
    ]
    # One to two voxels, and never so wide that the lesion is solid.
    width_mm = min(edge_mm * float(generator.uniform(1, 2)), radius_mm / 2)
    return DrawnLesion(
        centre_mm,
        radius_mm,
        kind,
        float(generator.uniform(*strength)),
        width_mm if kind is LesionKind.RIM else 0.0,
        bool(generator.random() < VEIN_SHARE),
    )


def _draw(canvas: _Canvas, lesion: DrawnLesion, number: int) -> None:
    """Add a lesion: an ellipsoid bent by smooth noise."""
    generator, radius = canvas.generator, lesion.radius_mm
    place, (x, y, z) = canvas.box(lesion.centre_mm, 1.6 * radius + 1)
    stretch = generator.uniform(0.8, 1.25, 3)
    # Volume one: the radius alone says how large the lesion is.
    stretch /= np.prod(stretch) ** (1 / 3)
    turn = np.linalg.qr(generator.standard_normal((3, 3)))[0]
    away = [(turn[0, i] * x + turn[1, i] * y + turn[2, i] * z) / stretch[i] for i in range(3)]
    level = np.sqrt(sum(part**2 for part in away)) - radius
    level = level + 0.1 * radius * canvas.smooth_noise(level.shape, max(radius / 2, 0.8))
    inside = level < 0
    added = np.full(level.shape, lesion.strength_ppb)
    if lesion.kind is LesionKind.RIM:
        plain = generator.uniform(*PLAIN_PPB)
        added = np.where(level > -lesion.width_mm, plain + lesion.strength_ppb, plain)
    canvas.chi_ppb[place] += np.where(inside, added, 0).astype(np.float32)
    canvas.labels[place][inside] = number


def _add_vein(canvas: _Canvas, through_mm: NDArray[np.float64]) -> None:
    """Add a straight tube through a point, 10 to 25 mm long, with its share of each fine voxel."""
    generator = canvas.generator
    half_mm, radius_mm = generator.uniform(5, 12.5), generator.uniform(0.25, 0.6)
    direction = generator.standard_normal(3)
    direction /= np.linalg.norm(direction)
    x, y, z = (float(value) for value in through_mm)
    place, away = canvas.box((x, y, z), half_mm + 1)
    along = sum(part * d for part, d in zip(away, direction, strict=True))
    square = sum(part**2 for part in away) - along**2
    step = float(np.prod(canvas.step_mm) ** (1 / 3))
    # A tube thinner than a point can fill no more of it than its cross-section does.
    most = min(1.0, np.pi * radius_mm**2 / step**2)
    filled = np.clip(0.5 + (radius_mm - np.sqrt(np.maximum(square, 0))) / step, 0, most)
    filled = np.where(np.abs(along) < half_mm, filled, 0).astype(np.float32)
    canvas.chi_ppb[place] += filled * (np.float32(VEIN_PPB) - canvas.chi_ppb[place])


def _in_blocks(fine: NDArray[np.generic], factors: tuple[int, ...]) -> NDArray[np.generic]:
    """Return the points of each voxel along a last axis."""
    shape = [
        n
        for size, factor in zip(fine.shape, factors, strict=True)
        for n in (size // factor, factor)
    ]
    parts = fine.reshape(shape).transpose(0, 2, 4, 1, 3, 5)
    return parts.reshape(*parts.shape[:3], -1)


def _block_means(fine: Array, factors: tuple[int, ...]) -> Float:
    return np.asarray(_in_blocks(fine, factors).mean(-1), dtype=np.float32)
