"""Where each point of a participant's head lies in the atlas: a random smooth invertible map."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.core.affine import lattice
from bids_qsmthal.core.image import Affine

if TYPE_CHECKING:
    from bids_qsmthal.simulate.templates import Templates

Float = NDArray[np.float32]

STEP_MM = 3.0
CORNER_MM = np.array([-105.0, -140.0, -120.0])
SHAPE = (71, 91, 76)

SMALLEST_JACOBIAN = 0.3
"""A map from head to atlas that squeezes more than this is not an anatomy any more."""


@dataclass(frozen=True, slots=True, eq=False)
class RandomWarp:
    """Head to atlas: ``point * stretch + displacement(point)``, in mm.

    Attributes
    ----------
    stretch
        Factor for each axis.
    displacement_mm
        Shape (3, x, y, z), on a grid of the head.
    affine
        Grid of the displacement to head mm.
    """

    stretch: NDArray[np.float64]
    displacement_mm: Float
    affine: Affine

    def to_atlas(self, points_mm: NDArray[np.floating]) -> Float:
        """Return atlas coordinates (3, n) of points of the head (3, n)."""
        # The grid's axes are those of the head, its steps equal: no matrix is needed.
        index = (points_mm - self.affine[:3, 3:]) / STEP_MM
        atlas = np.empty(points_mm.shape, np.float32)
        for axis in range(3):
            atlas[axis] = ndimage.map_coordinates(
                self.displacement_mm[axis], index, order=1, mode="nearest", output=np.float32
            )
            atlas[axis] += np.float32(self.stretch[axis]) * points_mm[axis]
        return atlas

    def to_head(self, atlas_mm: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the points of the head (3, n) that the map takes to the given atlas points."""
        stretch = self.stretch[:, None]
        points = atlas_mm / stretch
        for _ in range(30):
            # Converges where the displacement changes by less than the stretch, as these smooth
            # fields do.
            points = points + (atlas_mm - self.to_atlas(points)) / stretch
        return points


def stretched(stretch: NDArray[np.float64]) -> RandomWarp:
    """Return the warp that stretches each axis by a factor and does no more."""
    return RandomWarp(stretch, np.zeros((3, *SHAPE), np.float32), lattice(STEP_MM, CORNER_MM))


def random_warp(
    templates: Templates,
    *,
    scale: float,
    deformation_mm: float,
    atrophy: float,
    generator: np.random.Generator,
) -> RandomWarp:
    """Draw the anatomy of one participant.

    Parameters
    ----------
    templates
        The atlas; its ventricles and thalami steer the atrophy.
    scale
        Linear size of the head against the atlas.
    deformation_mm
        Root mean square of the random part.
    atrophy
        0 to 1.
    generator
        Source of randomness.
    """
    stretch = 1 / (scale * np.exp(generator.normal(0, 0.02, 3)))
    affine = lattice(STEP_MM, CORNER_MM)
    random = _random_displacement(deformation_mm, generator)
    systematic = _atrophy_displacement(templates, atrophy, affine, stretch)
    # A random field may fold where two of its bumps meet: weaken it until no voxel does.
    strength = 1.0
    while _smallest_jacobian(strength * random + systematic, stretch) < SMALLEST_JACOBIAN:
        strength *= 0.9
        if strength < 0.2:
            systematic = systematic * np.float32(0.9)
    return RandomWarp(stretch, (strength * random + systematic).astype(np.float32), affine)


def more_atrophy(warp: RandomWarp, templates: Templates, atrophy: float) -> RandomWarp:
    """Return the same anatomy with more atrophy than it had, in parts of full atrophy."""
    # Atrophy moves points in proportion to what it has above 0.2.
    moved = _atrophy_displacement(templates, 0.2 + atrophy, warp.affine, warp.stretch)
    return replace(warp, displacement_mm=(warp.displacement_mm + moved).astype(np.float32))


def _random_displacement(deformation_mm: float, generator: np.random.Generator) -> Float:
    """Two scales of smooth noise: shape of the lobes (25 mm) and of gyri (9 mm)."""
    total = np.zeros((3, *SHAPE), np.float32)
    for sigma_mm, fraction in ((25.0, 0.85), (9.0, 0.5)):
        for axis in range(3):
            noise = generator.standard_normal(SHAPE, dtype=np.float32)
            # Wrapped: at reflected edges the smoothed noise would be stronger than in the middle.
            noise = ndimage.gaussian_filter(noise, sigma_mm / STEP_MM, mode="wrap")
            total[axis] += noise * np.float32(fraction * deformation_mm / noise.std())
    return total


def _atrophy_displacement(
    templates: Templates, atrophy: float, affine: Affine, stretch: NDArray[np.float64]
) -> Float:
    """Move points into the ventricles (these grow) and out of the thalami (these shrink).

    The direction is the gradient of the smoothed structure; 5 and 2 mm at full atrophy.
    """
    total = np.zeros((3, *SHAPE), np.float32)
    pulls = (
        # An atrophy of 0.2 leaves the template as it is.
        (5.0 * (atrophy - 0.2), templates.ventricles, ("ventricle_L", "ventricle_R")),
        (2.0 * (atrophy - 0.2), templates.ventricles, ("ventricle_M",)),
        (-2.0 * (atrophy - 0.2), templates.structures, ("thalamus_L", "thalamus_R")),
    )
    for amplitude_mm, source, names in pulls:
        canvas = np.zeros(templates.gray.shape, np.float32)
        for name in names:
            canvas[source[name].crop.slices] += source[name].probability
        # Without the random part, which is drawn apart: the atrophy follows the stretched atlas.
        step = np.linalg.inv(templates.affine) @ np.diag([*stretch, 1.0]) @ affine
        coarse = ndimage.affine_transform(
            ndimage.gaussian_filter(canvas, 2.0), step[:3, :3], step[:3, 3], SHAPE, order=1
        )
        slope = np.stack(np.gradient(ndimage.gaussian_filter(coarse, 4.0 / STEP_MM)))
        largest = np.linalg.norm(slope, axis=0).max()
        total += (amplitude_mm * slope / largest).astype(np.float32)
    return total


def _smallest_jacobian(displacement_mm: Float, stretch: NDArray[np.float64]) -> float:
    """Smallest determinant of the derivative, relative to that of the stretch alone."""
    derivative = np.empty((*SHAPE, 3, 3), np.float32)
    for row in range(3):
        for column, slope in enumerate(np.gradient(displacement_mm[row], STEP_MM)):
            derivative[..., row, column] = slope
        # The map is stretch x + displacement: its derivative has the stretch on the diagonal.
        derivative[..., row, row] += stretch[row]
    return float(np.linalg.det(derivative).min() / np.prod(stretch))
