"""What the local field says of a rim, before any inversion.

A map of susceptibility is regularised: it fills a dark inside of two voxels that a bright rim
encloses. The field is not. Each lesion is explained in two ways, alike throughout or with a rim,
both with the border a little further in or out and with or without a vein through it. Every
explanation is linear in its susceptibilities, which have Gaussian priors, and the noise is
Gaussian, so its evidence, averaged over these susceptibilities, has a closed form (MacKay 1992,
doi:10.1162/neco.1992.4.3.415). The ratio of the evidences is the sign of a rim.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage
from scipy.special import logsumexp

from bids_qsmthal.core.grid import Grid
from bids_qsmthal.qsm.operators import convolve, dipole_kernel
from bids_qsmthal.roi.morphology import share_deeper, signed_depth_mm

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bids_qsmthal.core.grid import Array, Mask
    from bids_qsmthal.roi.morphology import VoxelSize

Vector: TypeAlias = NDArray[np.float64]
"""One value for each voxel that is used, for each source, or for each axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldRule:
    """How the field of a lesion is explained; chosen on simulated blocks (docs/lesion-iron.md).

    Attributes
    ----------
    borders_mm
        How far outside the border of the mask the lesion may truly end.
    widths_mm
        Of the rims.
    lesion_ppb, rim_ppb
        Standard deviations of what is expected of a lesion and of its rim.
    vein_ppb_mm2
        That of a vein: susceptibility times cross-section; blood of 350 ppb in a vein 1 mm wide.
    drift_ppb
        That of a field that is constant or linear across the box, from sources far away.
    model_ppb
        Field of a tissue that is not as even as the explanations; added to the noise.
    anew_mm, used_mm
        How far round a lesion susceptibility is explained anew, and the field is looked at.
    """

    borders_mm: tuple[float, ...] = (-1.0, -0.5, 0.0, 0.5, 1.0)
    widths_mm: tuple[float, ...] = (1.0, 1.5, 2.0, 2.5)
    lesion_ppb: float = 40.0
    rim_ppb: float = 50.0
    vein_ppb_mm2: float = 300.0
    drift_ppb: float = 30.0
    model_ppb: float = 1.0
    anew_mm: float = 2.0
    used_mm: float = 5.0

    @property
    def margin_mm(self) -> float:
        """How much of the surroundings a box must hold."""
        return self.used_mm + 3.0


LEAST_VOXELS = 8
"""Surroundings of fewer voxels have no mean to compare with."""
LEAST_SHARE = 0.5
"""Of a lesion whose field must be known."""
LEAST_EVIDENCE = -30.0
"""Where no rim brighter than the inside explains anything at all."""


def unexplained_ppb(chi_ppb: Array, field_ppb: Array, usable: Mask, grid: Grid) -> Array:
    """Return the local field less that of a map of susceptibility; zero where it is not usable.

    Parameters
    ----------
    chi_ppb, field_ppb
        Both on ``grid``, shape (x, y, z); the field is relative to B0.
    """
    inside = np.where(usable, chi_ppb, 0).astype(np.float32)
    rest: Array = np.where(usable, field_ppb - _Dipole(inside.shape, grid).field(inside), 0)
    return rest.astype(np.float32)


class _Dipole:
    """The field of sources in a box with nothing round it."""

    def __init__(self, shape: Sequence[int], grid: Grid) -> None:
        # Zeros behind each axis, for a discrete transform is periodic.
        padded = [fft.next_fast_len(int(np.ceil(PADDING * n)), real=True) for n in shape]
        self._pads = [(0, far - n) for n, far in zip(shape, padded, strict=True)]
        self._slices = tuple(slice(0, n) for n in shape)
        self._kernel = dipole_kernel(
            Grid((padded[0], padded[1], padded[2]), grid.voxel_size_mm, grid.b0_direction)
        )

    def field(self, chi: Array) -> Array:
        """Return the field of a susceptibility, in its unit."""
        whole = convolve(np.pad(chi, self._pads).astype(np.float32), self._kernel)
        field: Array = whole[self._slices]
        return field


PADDING = 1.5
"""Length of an axis with the zeros: half of it away, the field of what a lesion holds is hundredths
of that at its border."""


class LesionBox(NamedTuple):
    """One lesion and its surroundings, arrays of shape (x, y, z).

    Attributes
    ----------
    lesion, tissue
        The lesion alone, and white matter without any lesion.
    usable
        Where susceptibility was reconstructed.
    unexplained_ppb
        See the function of this name.
    noise_ppb
        Standard deviation of the field, infinite where it is not believed.
    """

    lesion: Mask
    tissue: Mask
    chi_ppb: Array
    usable: Mask
    unexplained_ppb: Array
    noise_ppb: Array
    grid: Grid


def rim_evidence(box: LesionBox, *, rule: FieldRule) -> float:
    """Return the natural logarithm of the evidence for a rim over that for none.

    NaN where too little of the field of the lesion or of its surroundings is known.
    """
    depth_mm = signed_depth_mm(box.lesion, box.grid.voxel_size_mm)
    known = box.usable & np.isfinite(box.noise_ppb)
    around = box.tissue & box.usable & (depth_mm <= -rule.anew_mm) & (depth_mm >= -rule.used_mm)
    if around.sum() < LEAST_VOXELS or known[box.lesion].mean() < LEAST_SHARE:
        return float("nan")
    dipole = _Dipole(box.lesion.shape, box.grid)
    anew = (box.lesion | box.tissue) & box.usable & (depth_mm >= -rule.anew_mm)
    above_ppb = box.chi_ppb - np.median(box.chi_ppb[around])
    # What was taken out of the map near the lesion is in the field again.
    field_ppb = box.unexplained_ppb + dipole.field(np.where(anew, above_ppb, 0))
    used = known & (depth_mm >= -rule.used_mm)
    noise_ppb = float(np.hypot(np.median(box.noise_ppb[used]), rule.model_ppb))
    explained = _Field(field_ppb, used, noise_ppb, box.grid, rule)
    lines = _Lines(box.lesion, box.grid.voxel_size_mm)
    even, rims = _explanations(explained, depth_mm, dipole, box.grid.voxel_size_mm, rule)
    # The veins that explain best what the best explanation of either kind leaves.
    veins = [
        vein
        for kind in (even, rims)
        for vein in _veins(max(kind, key=explained.evidence), explained, lines, dipole)
    ]
    without = [_with_vein(one, veins, explained, lines.count) for one in even]
    with_rim = [_with_vein(one, veins, explained, lines.count) for one in rims]
    # A rim is brighter than the inside.
    brighter = [fit.evidence for fit in with_rim if fit.values[1] > 0]
    if not brighter:
        return LEAST_EVIDENCE
    ratio = logsumexp(brighter) - np.log(len(with_rim))
    ratio -= logsumexp([fit.evidence for fit in without]) - np.log(len(without))
    return max(float(ratio), LEAST_EVIDENCE)


class _Explanation(NamedTuple):
    """Fields of unit sources, shape (voxels, sources), and what is expected of the sources."""

    fields: Vector
    expected_ppb: tuple[float, ...]

    def and_vein(self, field: Vector, expected: float) -> _Explanation:
        return _Explanation(np.column_stack([self.fields, field]), (*self.expected_ppb, expected))


class _Fit(NamedTuple):
    evidence: float
    values: Vector


class _Field:
    """The field of a lesion at the voxels that are used, and how well it is explained."""

    def __init__(
        self, field_ppb: Array, used: Mask, noise_ppb: float, grid: Grid, rule: FieldRule
    ) -> None:
        self.used, self.rule = used, rule
        self._seen = field_ppb[used].astype(np.float64) / noise_ppb
        self._noise_ppb = noise_ppb
        places = np.argwhere(used) * np.array(grid.voxel_size_mm)
        # In units of a centimetre: the drift across a box is about as large as its level.
        linear = (places - places.mean(axis=0)) / 10
        self._drift = np.column_stack([np.ones(len(places)), linear])

    def at_voxels(self, field: Array) -> Vector:
        return field[self.used].astype(np.float64)

    def evidence(self, one: _Explanation) -> float:
        return self.fit(one).evidence

    def fit(self, one: _Explanation) -> _Fit:
        """Return the log evidence, up to a constant of this field, and the likeliest sources."""
        expected = np.array([*one.expected_ppb, *[self.rule.drift_ppb] * self._drift.shape[1]])
        scaled = np.column_stack([one.fields, self._drift]) * (expected / self._noise_ppb)
        # Posterior of sources in units of what is expected: precision 1 + X'X.
        lower = np.linalg.cholesky(scaled.T @ scaled + np.eye(expected.size))
        half = np.linalg.solve(lower, scaled.T @ self._seen)
        evidence = 0.5 * float(half @ half) - float(np.log(np.diag(lower)).sum())
        return _Fit(evidence, np.linalg.solve(lower.T, half) * expected)

    def left(self, one: _Explanation) -> Array:
        """Return what an explanation leaves of the field, zero where it is not used."""
        values = self.fit(one).values
        rest = np.zeros(self.used.shape, np.float32)
        explained = np.column_stack([one.fields, self._drift]) @ values
        rest[self.used] = self._seen * self._noise_ppb - explained
        return rest


def _explanations(
    field: _Field,
    depth_mm: Array,
    dipole: _Dipole,
    voxel_size_mm: VoxelSize,
    rule: FieldRule,
) -> tuple[list[_Explanation], list[_Explanation]]:
    """Return those of a lesion that is alike throughout, and those of one with a rim."""
    depths = {-border for border in rule.borders_mm}
    depths |= {width - border for width in rule.widths_mm for border in rule.borders_mm}
    shares = share_deeper(depth_mm, sorted(depths), voxel_size_mm)
    deeper = {
        depth: field.at_voxels(dipole.field(share))
        for depth, share in zip(sorted(depths), shares, strict=True)
    }
    even, rims = [], []
    for border in rule.borders_mm:
        lesion = deeper[-border]
        even.append(_Explanation(lesion[:, None], (rule.lesion_ppb,)))
        for width in rule.widths_mm:
            rim = lesion - deeper[width - border]
            rims.append(
                _Explanation(np.column_stack([lesion, rim]), (rule.lesion_ppb, rule.rim_ppb))
            )
    return even, rims


class _Line(NamedTuple):
    """A straight vein: a point (mm from the corner of the box) and a unit direction."""

    point: Vector
    direction: Vector


DIRECTIONS = 40
"""Of lines, over half a sphere: 18 degrees apart."""
APART_MM = 1.0
"""Between parallel lines."""
BEYOND_MM = 5.0
"""How far a vein goes on outside the lesion."""
STEP_MM = 0.4
TRIED = 6
"""Lines whose field is computed."""
NUDGES = ((0.6, 0.18), (0.3, 0.09))
"""Steps by which the best line is moved (mm) and turned (rad), half the distance of lines first."""


class _Lines:
    """The straight lines through a lesion that a vein may follow."""

    def __init__(self, lesion: Mask, voxel_size_mm: VoxelSize) -> None:
        self._size, self._shape = np.array(voxel_size_mm), lesion.shape
        volume_mm3 = float(lesion.sum() * np.prod(self._size))
        radius_mm = (3 * volume_mm3 / (4 * np.pi)) ** (1 / 3)
        self._along_mm = np.arange(-radius_mm - BEYOND_MM, radius_mm + BEYOND_MM, STEP_MM)
        centre = np.array(ndimage.center_of_mass(lesion)) * self._size
        aside = np.arange(-radius_mm, radius_mm + APART_MM / 2, APART_MM)
        places = [(u, v) for u in aside for v in aside if u * u + v * v <= radius_mm**2]
        self._lines = [
            _Line(centre + u * across[0] + v * across[1], direction)
            for direction in _half_sphere(DIRECTIONS)
            for across in [_across(direction)]
            for u, v in places
        ]

    @property
    def count(self) -> int:
        """How many there are, any of them as likely as another."""
        return len(self._lines)

    def brightest(self, image: Array, number: int) -> list[_Line]:
        """Return the lines along which an image is brightest."""
        points = np.array([line.point for line in self._lines])
        directions = np.array([line.direction for line in self._lines])
        along = self._along_mm[::2]
        places = points[:, None] + along[:, None] * directions[:, None]
        voxels = (places / self._size).reshape(-1, 3).T
        values = ndimage.map_coordinates(image, voxels, order=1)
        order = np.argsort(-values.reshape(self.count, -1).sum(axis=1), kind="stable")
        return [self._lines[index] for index in order[:number]]

    def drawn(self, line: _Line) -> Array:
        """Return a line of 1 ppb mm2 as susceptibility in ppb."""
        points = (line.point + self._along_mm[:, None] * line.direction) / self._size
        lowest = np.floor(points).astype(int)
        beyond = points - lowest
        image = np.zeros(self._shape, np.float32)
        for corner in np.ndindex(2, 2, 2):
            weight = np.prod(np.where(np.array(corner), beyond, 1 - beyond), axis=1)
            place = lowest + corner
            inside = ((place >= 0) & (place < self._shape)).all(axis=1)
            np.add.at(image, tuple(place[inside].T), weight[inside])
        return image * np.float32(STEP_MM / np.prod(self._size))


def _half_sphere(number: int) -> Vector:
    """Return unit vectors evenly over half a sphere: a spiral by the golden angle."""
    index = np.arange(number) + 0.5
    height = 1 - index / number
    angle = np.pi * (1 + 5**0.5) * index
    flat = np.sqrt(1 - height**2)
    return np.column_stack([flat * np.cos(angle), flat * np.sin(angle), height])


def _across(direction: Vector) -> tuple[Vector, Vector]:
    """Return two unit vectors at right angles to a direction and to each other."""
    axis = np.eye(3)[np.abs(direction).argmin()]
    first: Vector = np.cross(direction, axis) / np.linalg.norm(np.cross(direction, axis))
    second: Vector = np.cross(direction, first)
    return first, second


def _veins(one: _Explanation, field: _Field, lines: _Lines, dipole: _Dipole) -> Iterable[Vector]:
    """Return the fields of veins that may explain what an explanation leaves; the last is best."""
    # The kernel is its own adjoint: the field of what is left is bright along missing sources.
    tried = lines.brightest(dipole.field(field.left(one)), TRIED)

    def fitted(line: _Line) -> tuple[float, Vector]:
        made = field.at_voxels(dipole.field(lines.drawn(line)))
        return field.evidence(one.and_vein(made, field.rule.vein_ppb_mm2)), made

    found = [(*fitted(line), line) for line in tried]
    evidence, made, line = max(found, key=lambda each: each[0])
    for step_mm, turn_rad in NUDGES:
        across = _across(line.direction)
        moved = [
            line._replace(point=line.point + s * a) for a in across for s in (-step_mm, step_mm)
        ]
        turned = [_turned(line, s * a) for a in across for s in (-turn_rad, turn_rad)]
        for other in (*moved, *turned):
            better, its_field = fitted(other)
            if better > evidence:
                evidence, made, line = better, its_field, other
    return (*(vein for _, vein, _ in found), made)


def _turned(line: _Line, by: Vector) -> _Line:
    direction = line.direction + by
    return line._replace(direction=direction / np.linalg.norm(direction))


def _with_vein(one: _Explanation, veins: Sequence[Vector], field: _Field, lines: int) -> _Fit:
    """Return the best fit of an explanation, with a vein where that pays."""
    best = field.fit(one)
    for vein in veins:
        fit = field.fit(one.and_vein(vein, field.rule.vein_ppb_mm2))
        # Any of the lines might have been the vein. Blood is paramagnetic.
        evidence = fit.evidence - np.log(lines)
        if evidence > best.evidence and fit.values[len(one.expected_ppb)] > 0:
            best = fit._replace(evidence=evidence)
    return best
