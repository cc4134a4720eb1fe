"""The head around the brain: skull, scalp, face, neck and the air inside them, as level sets.

No packaged template has a skull with its sinuses, so these are shells at fixed distances from the
brain and ellipsoids where the cavities of an adult head are. They make the background field; the
numbers are millimetres in the space of the atlas, read off anatomical drawings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_qsmthal.core.affine import apply_to_columns, lattice
from bids_qsmthal.core.image import Image

if TYPE_CHECKING:
    from bids_qsmthal.simulate.templates import Templates
    from bids_qsmthal.simulate.warps import RandomWarp

Float = NDArray[np.float32]

STEP_MM: Final = 2.0
CORNER_MM: Final = np.array([-112.0, -144.0, -160.0])
SHAPE: Final = (113, 137, 138)

CLOSING_MM: Final = 7.0
"""Sulci and cisterns narrower than twice this belong to the inside of the skull."""

DURA_MM: Final = 1.5
SKULL_MM: Final = 2.5
SCALP_MM: Final = 8.5
SKIN_MM: Final = 14.0
"""Values of ``Envelope.depth`` where dura, skull and scalp begin, and the head ends: each a
millimetre nearer to the brain's hull than its number says."""

CAVITIES: Final = (
    # Centre and semi-axes; those off the midline come in pairs.
    ("frontal sinus", (12.0, 77.0, -6.0), (11.0, 6.0, 10.0)),
    ("ethmoid cells", (7.0, 52.0, -34.0), (6.0, 18.0, 10.0)),
    ("sphenoid sinus", (7.0, 19.0, -44.0), (9.0, 12.0, 9.0)),
    ("maxillary sinus", (27.0, 48.0, -62.0), (13.0, 14.0, 15.0)),
    ("nasal cavity", (6.0, 55.0, -62.0), (4.0, 28.0, 16.0)),
    ("pharynx", (0.0, 8.0, -92.0), (10.0, 8.0, 28.0)),
    ("middle ear", (49.0, -22.0, -42.0), (5.0, 6.0, 6.0)),
    ("mastoid cells", (55.0, -38.0, -50.0), (7.0, 8.0, 12.0)),
    ("mouth", (0.0, 62.0, -90.0), (18.0, 18.0, 3.0)),
)
OPENINGS: Final = (("ear canal", (72.0, -20.0, -42.0), (22.0, 4.0, 4.0)),)
EYE: Final = ((32.0, 68.0, -34.0), (12.0, 12.0, 12.0))
FACE: Final = ((0.0, 38.0, -62.0), (66.0, 62.0, 72.0))
NECK: Final = ((0.0, -22.0), (60.0, 66.0))
NECK_TOP_MM: Final = -40.0


@dataclass(frozen=True, slots=True, eq=False)
class Envelope:
    """Level sets of one head on a 2 mm grid, each an ``Image`` in mm.

    Attributes
    ----------
    depth
        From the hull of the brain, negative inside it: the distance to the nearest voxel on the
        other side, which is a millimetre (half a voxel) more than that to the border.
    outer
        Distance from the skin, negative inside the head.
    air
        Negative inside the cavities.
    eyes
        Negative inside the eyes.
    """

    depth: Image
    outer: Image
    air: Image
    eyes: Image


@dataclass(frozen=True, slots=True, eq=False)
class LabelledEnvelope:
    """A head whose tissues outside the brain are labelled.

    Attributes
    ----------
    depth
        As in ``Envelope``; ``DURA_MM`` is the border of what is labelled inside the skull.
    tissue
        Row of ``TISSUES`` at each point outside; a head that is cut below goes on as it was cut.
    """

    depth: Image
    tissue: Image


def envelope(templates: Templates, warp: RandomWarp) -> Envelope:
    """Build the head around a participant's brain."""
    affine = lattice(STEP_MM, CORNER_MM)
    index = np.indices(SHAPE, dtype=np.float32).reshape(3, -1)
    points_mm = index * np.float32(STEP_MM) + CORNER_MM[:, None].astype(np.float32)
    atlas_mm = warp.to_atlas(points_mm)
    at = np.linalg.inv(templates.affine)
    brain = ndimage.map_coordinates(
        templates.brain, apply_to_columns(at, atlas_mm), order=1, output=np.float32
    ).reshape(SHAPE)
    # The half is the border: the template's brain is a smoothed mask.
    depth = _hull_distance(brain > 0.5)
    # The shapes follow the size of the head, not its local warp.
    # ``stretch`` leads from head to atlas, in whose millimetres the shapes are given.
    scaled = (points_mm * warp.stretch[:, None]).reshape(3, *SHAPE).astype(np.float32)
    face = np.minimum(_ellipsoid(scaled, *FACE), _neck(scaled))
    # The smaller of two level sets is their union, the larger their intersection.
    outer = np.minimum(depth - SKIN_MM, face)
    inner = [_pair(scaled, centre, radii) for _, centre, radii in CAVITIES]
    openings = [_pair(scaled, centre, radii) for _, centre, radii in OPENINGS]
    # Bone of 1 mm towards the dura and 3 mm of cover towards the skin remain.
    air = np.maximum(np.minimum.reduce(inner), outer + 3.0)
    air = np.maximum(np.minimum.reduce([air, *openings]), SKULL_MM + 1.0 - depth)
    # Eyes keep outside the skull even where a warped brain comes near.
    eyes = np.maximum(_pair(scaled, *EYE), SCALP_MM - depth)
    return Envelope(
        *(Image(level.astype(np.float32), affine) for level in (depth, outer, air, eyes))
    )


def _hull_distance(brain: NDArray[np.bool_]) -> Float:
    """Signed distance from voxels of the closed brain mask to those outside, mm, smoothed.

    From centre to centre: it jumps from -2 to 2 mm across a border, where -1 and 1 would be the
    distances from the border itself.
    """
    away = ndimage.distance_transform_edt(~brain, STEP_MM)
    # A closing by two distances is exact for balls of any radius; a structuring element of 7 mm
    # would be slow and angular.
    hull = ndimage.distance_transform_edt(away <= CLOSING_MM, STEP_MM) > CLOSING_MM
    hull = ndimage.binary_fill_holes(hull | brain)
    signed = ndimage.distance_transform_edt(~hull, STEP_MM) - ndimage.distance_transform_edt(
        hull, STEP_MM
    )
    return np.asarray(ndimage.gaussian_filter(signed.astype(np.float32), 0.8))


def _pair(
    points: Float, centre: tuple[float, float, float], radii: tuple[float, float, float]
) -> Float:
    # The mirror plane is x = 0: one level set gives both sides.
    mirrored = np.stack([np.abs(points[0]), points[1], points[2]])
    return _ellipsoid(mirrored, centre, radii)


def _ellipsoid(
    points: Float, centre: tuple[float, float, float], radii: tuple[float, float, float]
) -> Float:
    """Level set of an ellipsoid, about in mm near its surface along the smallest axis."""
    square = sum(((p - c) / r) ** 2 for p, c, r in zip(points, centre, radii, strict=True))
    return np.asarray((np.sqrt(square) - 1) * min(radii), dtype=np.float32)


def _neck(points: Float) -> Float:
    """Level set of an elliptic cylinder that runs down from the skull base."""
    (x, y), (across, along) = NECK
    radius = np.sqrt(((points[0] - x) / across) ** 2 + ((points[1] - y) / along) ** 2)
    return np.asarray(
        np.maximum((radius - 1) * min(across, along), points[2] - NECK_TOP_MM), dtype=np.float32
    )
