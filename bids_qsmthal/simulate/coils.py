"""Receive coils: what they do to magnitude, noise and phase of a combined image.

Positions are head mm. B0 is taken along the z axis of the head: a coil's sensitivity changes little
over the degrees by which heads lie tilted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from bids_qsmthal.core.affine import apply_to_columns, rescaled, voxel_sizes_mm
from bids_qsmthal.simulate.fields import upsampled

if TYPE_CHECKING:
    from bids_qsmthal.core.image import Affine

Float = NDArray[np.float32]
Shape = tuple[int, int, int]

STEP_MM: Final = 8.0
"""Grid on which sensitivities are computed: they change over centimetres."""


class Reception(NamedTuple):
    """Gain of the combined signal and deviation of its noise, relative, shape (x, y, z)."""

    gain: Float
    noise: Float


@dataclass(frozen=True, slots=True, kw_only=True)
class CoilArray:
    """Loops on an elliptic cylinder around the head, combined for the best signal-to-noise ratio.

    Attributes
    ----------
    channels
        Loops, evenly spaced round the head.
    loop_radius_mm
        Of each.
    semi_axes_mm
        Of the cylinder, left-right and anterior-posterior.
    centre_mm
        Of the ring of loops.
    normalised
        Whether the scanner divides the image by the gain (prescan normalisation): tissue is then
        uniform, and noise is strong where the coils are far.
    noise_correlation
        Between neighbouring channels; of those n apart its n-th power.

    Notes
    -----
    The sensitivity of a loop is the transverse part of its magnetic field, Bx - i By, in the closed
    form of a circular current (Smythe, Static and Dynamic Electricity, 1950, 7.10). Weights s*
    over the root of the sum of squares give the gain sqrt(s* s) and noise of variance
    s* Psi s / s* s (Roemer 1990, doi 10.1002/mrm.1910160203). Phases of the channels are taken as
    known; what is wrong with them is a phase of its own (``PhaseBump``, ``FringeLine``).
    """

    channels: int = 8
    loop_radius_mm: float = 50.0
    semi_axes_mm: tuple[float, float] = (105.0, 125.0)
    centre_mm: tuple[float, float, float] = (0.0, -18.0, 10.0)
    normalised: bool = False
    noise_correlation: float = 0.3

    def reception(self, to_head: Affine, shape: Shape) -> Reception:
        """Return gain and noise on a grid whose affine leads to head mm, not yet normalised."""
        sizes_mm = voxel_sizes_mm(to_head)
        steps = STEP_MM / sizes_mm
        # Two points beyond each end: splines are off at the ends of what they are given.
        coarse = tuple(
            int(np.ceil((n - 1) / step)) + 5 for n, step in zip(shape, steps, strict=True)
        )
        index = np.indices(coarse, dtype=np.float64).reshape(3, -1) - 2
        sensitivity = self.sensitivities(apply_to_columns(rescaled(to_head, steps), index))
        power = (np.abs(sensitivity) ** 2).sum(axis=0)
        variance = np.einsum(
            "in,ij,jn->n", sensitivity.conj(), self._correlation(), sensitivity
        ).real
        gain = np.sqrt(power)
        noise = np.sqrt(variance / power)
        maps = (np.ones_like(gain), noise / gain) if self.normalised else (gain, noise)
        first = np.full(3, 2.0)
        return Reception(
            *(
                upsampled(values.reshape(coarse).astype(np.float32), shape, 1 / steps, first)
                for values in maps
            )
        )

    def sensitivities(self, points_mm: NDArray[np.floating[Any]]) -> NDArray[np.complex128]:
        """Return the sensitivity of each channel at points (3, n), shape (channels, n)."""
        found = []
        for angle in 2 * np.pi * np.arange(self.channels) / self.channels:
            across, along = self.semi_axes_mm
            place = np.array([across * np.cos(angle), along * np.sin(angle), 0.0])
            # The normal of an ellipse, pointing inwards: loops lie flat on the cylinder.
            normal = -place / np.array([across**2, along**2, 1.0])
            middle = np.array(self.centre_mm) + place
            field = loop_field(points_mm, middle, normal, self.loop_radius_mm)
            found.append(field[0] - 1j * field[1])
        return np.stack(found)

    def _correlation(self) -> NDArray[np.float64]:
        order = np.arange(self.channels)
        apart = np.abs(order[:, None] - order)
        # Round the ring: the last channel is a neighbour of the first.
        steps = np.minimum(apart, self.channels - apart)
        return np.asarray(np.float64(self.noise_correlation) ** steps)


def loop_field(
    points_mm: NDArray[np.floating[Any]],
    centre_mm: NDArray[np.float64],
    normal: NDArray[np.float64],
    radius_mm: float,
) -> NDArray[np.float64]:
    """Return the field of a circular current at points (3, n); 1 in the middle of the loop.

    The closed form has complete elliptic integrals of the first and second kind (Smythe 1950);
    points must not lie on the wire.
    """
    normal = normal / np.linalg.norm(normal)
    away = points_mm - centre_mm[:, None]
    height = normal @ away
    radial = away - normal[:, None] * height
    distance = np.linalg.norm(radial, axis=0)
    square = distance**2 + height**2
    near = radius_mm**2 + square - 2 * radius_mm * distance
    far = np.sqrt(radius_mm**2 + square + 2 * radius_mm * distance)
    first = special.ellipk(1 - near / far**2)
    second = special.ellipe(1 - near / far**2)
    axial = ((radius_mm**2 - square) * second + near * first) / (near * far)
    # On the axis the radial part is zero by symmetry, and its formula 0 / 0.
    on_axis = distance < 1e-9 * radius_mm
    safe = np.where(on_axis, 1.0, distance)
    outward = height * ((radius_mm**2 + square) * second - near * first) / (near * far * safe)
    outward[on_axis] = 0.0
    # Current such that the field in the middle of the loop, which is pi / radius here, is 1.
    scale = radius_mm / np.pi
    return np.asarray(scale * (axial * normal[:, None] + outward * radial / safe))


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseBump:
    """A local phase offset of all echoes that no polynomial of low order follows.

    Near an element of the array the phase of the combined image turns within centimetres
    (Robinson 2017, doi 10.1002/nbm.3601).

    Attributes
    ----------
    centre_mm
        In the head.
    height_rad, deviation_mm
        Of the Gaussian.
    """

    centre_mm: tuple[float, float, float] = (22.0, 0.0, 0.0)
    height_rad: float = 0.5
    deviation_mm: float = 15.0

    def phase_rad(self, to_head: Affine, shape: Shape) -> Float:
        """Return the phase on a grid whose affine leads to head mm."""
        square = np.zeros(shape, np.float32)
        for axis, centre in enumerate(self.centre_mm):
            square += (_coordinate_mm(to_head, shape, axis) - np.float32(centre)) ** 2
        return np.asarray(
            np.float32(self.height_rad) * np.exp(square / np.float32(-2 * self.deviation_mm**2))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FringeLine:
    """A line of wrapped phase that ends inside the head, at two points of undefined phase.

    Channels whose phases do not match cancel at such points, round which the phase of the combined
    image turns once: no unwrapping joins both sides of the line between them (Robinson 2017,
    doi 10.1002/nbm.3601). Here the points are the same in every plane across the head's z axis.

    Attributes
    ----------
    first_mm, second_mm
        Left-right and anterior-posterior place of both ends; the phase turns forwards round the
        first and backwards round the second.
    """

    first_mm: tuple[float, float] = (-40.0, 30.0)
    second_mm: tuple[float, float] = (-40.0, -50.0)

    def phase_rad(self, to_head: Affine, shape: Shape) -> Float:
        """Return the phase, -pi to pi, on a grid whose affine leads to head mm."""
        x, y = (_coordinate_mm(to_head, shape, axis) for axis in (0, 1))
        first = (x - np.float32(self.first_mm[0])) + 1j * (y - np.float32(self.first_mm[1]))
        second = (x - np.float32(self.second_mm[0])) + 1j * (y - np.float32(self.second_mm[1]))
        return np.asarray(np.angle(first * np.conj(second)), np.float32)


def _coordinate_mm(to_head: Affine, shape: Shape, axis: int) -> Float:
    """Return one coordinate of every point of a grid."""
    i, j, k = np.ogrid[: shape[0], : shape[1], : shape[2]]
    row = to_head[axis].astype(np.float32)
    return np.asarray(row[0] * i + row[1] * j + row[2] * k + row[3], np.float32)
