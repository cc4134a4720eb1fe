"""Blood that moves: phase and place of veins and arteries in echoes without flow compensation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bids_qsmthal.core.affine import voxel_sizes_mm
from bids_qsmthal.simulate.veins import Vein, painted, through_head

if TYPE_CHECKING:
    from bids_qsmthal.core.image import Affine
    from bids_qsmthal.simulate.head_model import Head

Float = NDArray[np.float32]
Shape = tuple[int, int, int]

ARTERIES: Final = (
    # Radius (mm), speed (mm/s), course from the heart outwards, right side.
    (1.5, 350.0, ((0, -16, -48), (0, -15, -36), (0, -13, -24), (0, -12, -15))),
    (1.1, 280.0, ((0, -12, -15), (9, -13, -13), (18, -24, -8), (20, -34, -4), (16, -46, 0))),
    (1.4, 450.0, ((12, 6, -22), (10, 5, -12), (22, 3, -13), (33, 6, -14), (40, 2, -8))),
    (1.1, 350.0, ((10, 5, -12), (3, 14, -12), (2, 28, -4), (2, 36, 10), (2, 26, 24))),
)
"""Basilar, posterior, middle (with the end of the carotid) and anterior cerebral arteries in the
space of the atlas. Speeds are flow over cross-section (Zarrinkoob 2015,
doi 10.1038/jcbfm.2014.241: middle cerebral artery 2.4 mL/s)."""

BLOOD_R2STAR_HZ: Final = 15.0
"""Of arterial blood, nearly all of it oxygenated."""


class Blood(NamedTuple):
    """Voxels of a grid that hold vessels, raveled.

    Attributes
    ----------
    flat
        Which, shape (n,).
    fraction
        Of blood.
    velocity_mm_s
        Along the axes of the grid, shape (3, n).
    r2star_hz
        Of the blood.
    inflow
        Signal at TE = 0 against white matter where blood comes in without having been excited; 0
        where it looks like the tissue around it.
    """

    flat: NDArray[np.intp]
    fraction: Float
    velocity_mm_s: Float
    r2star_hz: Float
    inflow: Float


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Flow without compensation, the readout along axis 0 of the images.

    Attributes
    ----------
    vein_mm_s
        Mean speed in veins from 1 mm of radius; in thinner ones it falls with the radius. In basal
        vein, vein of Galen and straight sinus ultrasound has about 100 mm/s at the peak of the
        section, which is twice its mean (Stolz 1999, doi 10.1161/01.STR.30.5.1070).
    arteries
        Whether the large arteries of the base flow (``ARTERIES``).
    readout_s
        Length of one readout.
    encoding_s
        When the phase-encoded place of a spin is fixed; it is read at the echo.
    inflow
        Signal of arterial blood at TE = 0 against white matter.

    Notes
    -----
    For a spin of velocity v along the readout, with voxels of size dx there:

    - The first moment of a readout that is not compensated turns its phase by
      (pi / 2) v readout_s / dx: gradient of 1 / (gamma dx readout_s), half a lobe of prephasing. A
      monopolar train adds nothing from echo to echo, as its lobes lie symmetrically between echoes.
    - Moving through a field f it gathers pi (v . grad f) TE^2 (Xu 2014, doi 10.1002/mrm.24937).
    - It is seen v (TE - encoding_s) beside the place it has across the readout (Nishimura 1991,
      Magn Reson Med 22:481-492).

    Plug flow; pulsation and turbulence are left out.
    """

    vein_mm_s: float = 60.0
    arteries: bool = True
    readout_s: float = 0.003
    encoding_s: float = 0.001
    inflow: float = 1.8

    def blood(self, head: Head, to_head: Affine, shape: Shape, vein_r2star_hz: float) -> Blood:
        """Find the vessels of a head on a grid whose affine leads to head mm."""
        vessels = [
            (vein, self.vein_mm_s * min(1.0, vein.radius_mm), vein_r2star_hz, 0.0)
            for vein in head.veins
        ]
        if self.arteries:
            vessels += [
                (Vein(course, radius), speed, BLOOD_R2STAR_HZ, self.inflow)
                for radius, speed, points in ARTERIES
                for course in through_head(points, head.warp)
            ]
        found = []
        for vessel, *values in vessels:
            flat, fraction, nearest = painted(vessel, to_head, shape)
            tangent = np.gradient(vessel.course_mm, axis=0)
            tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
            row = np.empty((flat.size, 7))
            row[:, 0], row[:, 1], row[:, 2:5] = flat, fraction, tangent[nearest]
            row[:, 2:5] *= values[0]
            row[:, 5:] = values[1:]
            found.append(row)
        return _widest(np.concatenate(found), to_head)

    def phase_rad(self, blood: Blood, total_hz: Float, size_mm: float) -> tuple[Float, Float]:
        """Return the phase of all echoes (rad), and that per square of echo time (rad/s^2)."""
        moment = np.float32(np.pi / 2 * self.readout_s / size_mm) * blood.velocity_mm_s[0]
        return moment, np.float32(np.pi) * _along(total_hz, blood)

    def shift_voxels(self, blood: Blood, echo_time_s: float, size_mm: float) -> Float:
        """Return how far along axis 0 the blood is seen from where it is."""
        return np.asarray(blood.velocity_mm_s[0] * ((echo_time_s - self.encoding_s) / size_mm))


def _widest(rows: NDArray[np.float64], to_head: Affine) -> Blood:
    """Return each voxel once, with the vessel that fills most of it."""
    rows = rows[np.lexsort((-rows[:, 1], rows[:, 0]))]
    flat, first = np.unique(rows[:, 0], return_index=True)
    kept = rows[first].astype(np.float32)
    axes = to_head[:3, :3] / voxel_sizes_mm(to_head)
    # Poses are rigid and axes orthogonal: the transpose leads from head to grid.
    velocity = axes.T.astype(np.float32) @ kept[:, 2:5].T
    return Blood(flat.astype(np.intp), kept[:, 1], velocity, kept[:, 5], kept[:, 6])


def _along(field_hz: Float, blood: Blood) -> Float:
    """Return what blood sees the field change by as it moves, Hz per s."""
    index = np.stack(np.unravel_index(blood.flat, field_hz.shape))
    found = np.zeros(blood.flat.size, np.float32)
    for axis, length in enumerate(field_hz.shape):
        before, after = index.copy(), index.copy()
        before[axis] = np.maximum(index[axis] - 1, 0)
        after[axis] = np.minimum(index[axis] + 1, length - 1)
        rise = field_hz[tuple(after)] - field_hz[tuple(before)]
        found += blood.velocity_mm_s[axis] * rise / (after[axis] - before[axis])
    return found
