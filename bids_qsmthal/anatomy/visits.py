"""The visits of one person in one frame: rigid, half-way, no visit favoured.

A change between two scans is only seen where both are treated alike: a visit that is resampled and
one that is not differ by the blur alone (Reuter and Fischl 2011, doi
10.1016/j.neuroimage.2011.02.076). The frame is the mean pose of all visits, each visit is sampled
once on its grid, and the fit is robust against tissue that changed (Reuter 2010, doi
10.1016/j.neuroimage.2010.07.020; Reuter 2012, doi 10.1016/j.neuroimage.2012.02.084).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.polynomial import polynomial
from numpy.typing import NDArray
from scipy import linalg, ndimage

from bids_qsmthal.anatomy.frame import Frame
from bids_qsmthal.anatomy.registration import rigid
from bids_qsmthal.core.affine import apply, lattice, voxel_sizes_mm
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.image import Affine, Image, resample
from bids_qsmthal.core.robust import spread

if TYPE_CHECKING:
    from collections.abc import Sequence

Float = NDArray[np.float64]

BISQUARE = 4.685
"""Cut of Tukey's biweight in standard deviations: 95 % efficient for normal errors (Holland and
Welsch 1977, doi 10.1080/03610927708827533)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfWay:
    """How visits are brought into one frame.

    Attributes
    ----------
    rounds, rounds_with_slope
        Of the fit to the mean of all visits; and of them those that look at its gradient anew,
        which later hardly changes and costs most.
    points
        So many places in the brain are compared, evenly thinned.
    settled_mm
        The fit ends where no point of the brain moves more.
    min_correlation
        Least correlation of a visit's brain with the mean of the others. Simulated T1w of SNR 30:
        visits of two persons .946 and .965 and more, two persons .473; the middle.
    """

    rounds: int = 12
    rounds_with_slope: int = 3
    points: int = 60_000
    settled_mm: float = 0.002
    min_correlation: float = 0.7


@dataclass(frozen=True, slots=True, eq=False)
class VisitScan:
    """The T1w of one visit and the brain in it, on one grid."""

    t1w: Image
    brain: Image


@dataclass(frozen=True, slots=True, eq=False)
class VisitFrame:
    """The frame that all visits of a person share.

    Attributes
    ----------
    brain
        Where at least half of the visits have brain; boolean, on the grid of the frame.
    to_visits
        4x4, a point of the frame's world in the world of each visit's T1w.
    gains
        What each visit is multiplied by, for a brain of median 1 and even among the visits:
        coefficients of polynomials in the frame, of the logarithm.
    correlations
        Of each visit with the mean of the others, in the brain.
    residual
        Standard deviation of a visit about the mean of all, in shares of the brain's intensity.
    settings
        How it was made.
    """

    brain: Image
    to_visits: tuple[Affine, ...]
    gains: tuple[Float, ...]
    correlations: tuple[float, ...]
    residual: float
    settings: HalfWay

    def sampled(self, image: Image, visit: int, *, order: int = 3) -> Image:
        """Return an image of a visit's T1w grid on the grid of the frame."""
        return resample(image, self.brain, world=self.to_visits[visit], order=order)

    def even(self, t1w: Image, visit: int) -> Image:
        """Return the T1w of a visit on the grid of the frame, its intensity that of the mean."""
        image = self.sampled(t1w, visit)
        gain = np.exp(_on_grid(self.brain, self.gains[visit]))
        return image.like((image.data * gain).astype(np.float32))

    def strangers(self) -> tuple[int, ...]:
        """Return the visits whose brain is not that of the others."""
        limit = self.settings.min_correlation
        return tuple(n for n, found in enumerate(self.correlations) if found < limit)


def visit_frame(
    scans: Sequence[VisitScan], *, settings: HalfWay | None = None, seed: int = 1
) -> VisitFrame:
    """Bring the visits of a person into one frame.

    Parameters
    ----------
    scans
        Two visits or more, T1w of one contrast; smooth differences of their intensity are found
        and taken out.
    settings
        How.
    seed
        Of the first match.

    Raises
    ------
    DataError
        There are fewer than two.
    """
    if len(scans) < 2:
        raise DataError(
            "visits: only one T1w, expected two or more of the same person; add a session."
        )
    how = settings or HalfWay()
    started = _centred(_first_match(scans, seed), scans[0])
    brain = _brain(scans, started)
    pool = [_Sampler.of(scan) for scan in scans]
    points = _points(brain, how.points)
    ways, gains, residual = _fitted(pool, points, brain, started, how)
    return VisitFrame(
        brain=brain,
        to_visits=tuple(ways),
        gains=tuple(gains),
        correlations=_correlations(_values(pool, points, brain, ways, gains)),
        residual=residual,
        settings=how,
    )


def _first_match(scans: Sequence[VisitScan], seed: int) -> list[Affine]:
    """Return a point of the first visit's world in that of each, to about a voxel.

    The first visit is only where the search begins: what follows treats all alike.
    """
    first = scans[0]
    ways: list[Affine] = [np.eye(4)]
    for other in scans[1:]:
        found = rigid(
            first.t1w, other.t1w, fixed_mask=first.brain, moving_mask=other.brain, seed=seed
        )
        ways.append(np.linalg.inv(found.matrix).astype(np.float64))
    return ways


def _centred(ways: Sequence[Affine], first: VisitScan) -> list[Affine]:
    """Move the frame so that the mean of all ways is no motion at all."""
    inside = np.argwhere(first.brain.data > 0)
    centre = apply(ways[0], apply(first.brain.affine, inside.mean(axis=0)))
    return _without_mean(ways, centre)


def _without_mean(ways: Sequence[Affine], centre: Float) -> list[Affine]:
    """Take the mean motion off rigid ways, about a centre; for two visits it is the half-way."""
    found = list(ways)
    # The centre of the frame is known only with the frame: each time a hundredth of the rest stays.
    for _ in range(5):
        turned = np.eye(4)
        # The orthogonal matrix nearest to the mean of rotations is their mean (Moakher 2002, doi
        # 10.1137/S0895479801383877).
        turned[:3, :3] = linalg.polar(np.mean([way[:3, :3] for way in found], axis=0))[0]
        there = np.mean([apply(way, centre) for way in found], axis=0)
        turned[:3, 3] = there - turned[:3, :3] @ centre
        back = np.linalg.inv(turned)
        found = [way @ back for way in found]
    return found


def _brain(scans: Sequence[VisitScan], ways: Sequence[Affine]) -> Image:
    """Return the brain in the frame, on a grid of cubes that is nobody's own."""
    size_mm = min(float(voxel_sizes_mm(scan.t1w.affine).min()) for scan in scans)
    corners = [_corners(scan.brain, way) for scan, way in zip(scans, ways, strict=True)]
    low, high = np.min(corners, axis=(0, 1)) - 10.0, np.max(corners, axis=(0, 1)) + 10.0
    shape = tuple(int(n) for n in np.ceil((high - low) / size_mm))
    empty = Image(np.broadcast_to(np.zeros((), np.uint8), shape), lattice(size_mm, low))
    share = np.mean(
        [
            resample(
                scan.brain.like((scan.brain.data > 0).astype(np.float32)), empty, world=way
            ).data
            for scan, way in zip(scans, ways, strict=True)
        ],
        axis=0,
    )
    return empty.like(share >= 0.5)


def _corners(brain: Image, way: Affine) -> Float:
    """Return the corners of the box around a brain, in the world of the frame; shape (8, 3)."""
    inside = np.argwhere(brain.data > 0)
    ends = np.stack([inside.min(axis=0), inside.max(axis=0)])
    box = np.array([[ends[i, 0], ends[j, 1], ends[k, 2]] for i, j, k in np.ndindex(2, 2, 2)])
    return apply(np.linalg.inv(way), apply(brain.affine, box))


@dataclass(frozen=True, slots=True, eq=False)
class _Sampler:
    """A visit's T1w as a cubic spline, and the median of its brain."""

    spline: Image
    level: float

    @classmethod
    def of(cls, scan: VisitScan) -> _Sampler:
        upright = Frame.around(scan.brain, 15.0)
        t1w, brain = upright.cut(scan.t1w), upright.cut(scan.brain)
        level = max(float(np.median(t1w.data[brain.data > 0])), 1e-6)
        data = ndimage.spline_filter(t1w.data.astype(np.float32), output=np.float32)
        return cls(t1w.like(data), level)

    def at(self, points: Float) -> Float:
        """Return the image at points (n, 3) of its world."""
        index = apply(np.linalg.inv(self.spline.affine), points)
        found: Float = ndimage.map_coordinates(
            self.spline.data, index.T, np.float64, order=3, mode="nearest", prefilter=False
        )
        return found


def _points(brain: Image, limit: int) -> Float:
    """Return world points of the brain, evenly thinned."""
    voxels = np.argwhere(brain.data)
    return apply(brain.affine, voxels[:: max(1, len(voxels) // limit)])


def _extent(brain: Image) -> tuple[Float, float]:
    """Return the centre (mm) of the frame's box and half of its longest edge."""
    edges = voxel_sizes_mm(brain.affine) * np.array(brain.shape)
    return apply(brain.affine, (np.array(brain.shape) - 1) / 2), float(edges.max() / 2)


POWERS = tuple((i, j, k) for i in range(4) for j in range(4 - i) for k in range(4 - i - j))
"""Of x, y and z in the polynomials to the third degree that a gain is made of."""


def _terms(points: Float, centre: Float, half_mm: float) -> Float:
    """Return the polynomials that a gain is made of at points, shape (n, 20)."""
    x, y, z = ((points - centre) / half_mm).T
    return np.stack([x**i * y**j * z**k for i, j, k in POWERS], axis=1)


def _on_grid(brain: Image, gain: Float) -> Float:
    """Return the sum of all terms at every voxel of the frame, whose grid is that of cubes.

    Axis by axis: twenty terms of every voxel would be gigabytes.
    """
    centre, half_mm = _extent(brain)
    coefficients = np.zeros((4, 4, 4))
    coefficients[tuple(np.transpose(POWERS))] = gain
    x, y, z = (
        (brain.affine[axis, axis] * np.arange(n) + brain.affine[axis, 3] - centre[axis]) / half_mm
        for axis, n in enumerate(brain.shape)
    )
    return np.asarray(polynomial.polygrid3d(x, y, z, coefficients), np.float64)


def _values(
    pool: Sequence[_Sampler],
    points: Float,
    brain: Image,
    ways: Sequence[Affine],
    gains: Sequence[Float],
) -> Float:
    """Return what each visit shows at points of the frame, shape (visits, n)."""
    terms = _terms(points, *_extent(brain))
    return np.stack(
        [
            one.at(apply(way, points)) * np.exp(terms @ gain)
            for one, way, gain in zip(pool, ways, gains, strict=True)
        ]
    )


def _fitted(
    pool: Sequence[_Sampler],
    points: Float,
    brain: Image,
    ways: Sequence[Affine],
    how: HalfWay,
) -> tuple[list[Affine], list[Float], float]:
    """Fit every visit to the mean of all: Gauss-Newton with the biweight, all visits alike."""
    centre, half_mm = _extent(brain)
    terms = _terms(points, centre, half_mm)
    # The first term is the constant: every visit begins with its brain's median at 1.
    gains: list[Float] = [np.eye(1, terms.shape[1])[0] * -np.log(one.level) for one in pool]
    current = list(ways)
    sigma, slope = 1.0, np.zeros_like(points)
    for number in range(how.rounds):
        values = _values(pool, points, brain, current, gains)
        mean = values.mean(axis=0)
        if number < how.rounds_with_slope:
            slope = _gradient(pool, points, brain, current, gains)
        # Motion moves the image by its gradient, a gain by its intensity.
        motion = np.concatenate([slope, np.cross(points - centre, slope)], axis=1)
        model = np.concatenate([motion, terms * mean[:, None]], axis=1)
        sigma = spread(values - mean, 0.0)
        steps = [_step(model, one - mean, sigma) for one in values]
        current = [
            way @ _motion(-step[:6], centre) for way, step in zip(current, steps, strict=True)
        ]
        gains = [gain - step[6:] for gain, step in zip(gains, steps, strict=True)]
        current = _without_mean(current, centre)
        # Turned by w, a point at the brain's border, half_mm away, moves by |w| half_mm.
        moved = max(
            float(np.linalg.norm(step[:3]) + half_mm * np.linalg.norm(step[3:6])) for step in steps
        )
        if moved < how.settled_mm:
            break
    return current, gains, sigma


def _gradient(
    pool: Sequence[_Sampler],
    points: Float,
    brain: Image,
    ways: Sequence[Affine],
    gains: Sequence[Float],
) -> Float:
    """Return the gradient of the mean of all visits in the frame, shape (n, 3)."""
    step_mm = float(voxel_sizes_mm(brain.affine).min()) / 2
    found = np.empty_like(points)
    for axis in range(3):
        shift = np.zeros(3)
        shift[axis] = step_mm
        ahead, behind = (
            _values(pool, points + sign * shift, brain, ways, gains).mean(axis=0)
            for sign in (1, -1)
        )
        found[:, axis] = (ahead - behind) / (2 * step_mm)
    return found


def _step(model: Float, residual: Float, sigma: float) -> Float:
    """Return the coefficients that explain a residual, outliers counting nothing."""
    scaled = residual / (BISQUARE * max(sigma, 1e-6))
    weight = np.where(np.abs(scaled) < 1, (1 - scaled**2) ** 2, 0.0)
    weighted = model * weight[:, None]
    normal = weighted.T @ model
    # A constant image leaves the matrix singular; the pseudo-inverse then moves nothing.
    found: Float = np.linalg.lstsq(normal, weighted.T @ residual, rcond=1e-12)[0]
    return found


def _motion(parameters: Float, centre: Float) -> Affine:
    """Return the rigid motion of three shifts (mm) and three angles (rad) about a centre."""
    x, y, z = parameters[3:]
    moved = np.eye(4)
    # The exponential of a skew matrix is a rotation, whatever the angles.
    moved[:3, :3] = linalg.expm(np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]))
    moved[:3, 3] = centre + parameters[:3] - moved[:3, :3] @ centre
    return moved


def _correlations(values: Float) -> tuple[float, ...]:
    total = values.sum(axis=0)
    return tuple(float(np.corrcoef(one, total - one)[0, 1]) for one in values)
