"""What the local field says of a rim, before any inversion.

A map of susceptibility is regularised: it fills a dark inside of two voxels that a bright rim
encloses. The field is not. Each lesion is explained in two ways, alike throughout or with a rim,
both with the border a little further in or out and with or without a vein through it. Every
explanation is linear in its susceptibilities, which have Gaussian priors, and the noise is
Gaussian, so its evidence, averaged over these susceptibilities, has a closed form (MacKay 1992,
doi:10.1162/neco.1992.4.3.415). The ratio of the evidences is the sign of a rim. The same ratio,
computed for the field of a rim that is assumed, says how strong a rim must be to be seen in this
lesion at all.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.special import logsumexp

from bids_qsmthal.core.grid import Grid
from bids_qsmthal.qsm.operators import convolve, dipole_kernel
from bids_qsmthal.roi.morphology import share_deeper, signed_depth_mm
from bids_qsmthal.roi.straight_lines import NUDGES, StraightLines

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bids_qsmthal.core.grid import Array, Mask
    from bids_qsmthal.roi.morphology import VoxelSize
    from bids_qsmthal.roi.straight_lines import StraightLine

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
        How far around a lesion susceptibility is explained again, and the field is used.
    strong
        Logarithm of the evidence from which a rim counts as seen; 150 to 1.
    strongest_ppb
        Of the rims that are assumed when asking whether a lesion would show one; twice the
        strongest of the simulation. Beyond some 170 ppb the model takes any bright lesion to
        have a rim, by its strength alone.
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
    strong: float = 5.0
    strongest_ppb: float = 150.0

    @property
    def margin_mm(self) -> float:
        """How much of the surroundings a box must hold: 3 mm more than is used."""
        return self.used_mm + 3.0


LEAST_VOXELS = 8
"""Surroundings of fewer voxels have no mean to compare with."""
LEAST_SHARE = 0.5
"""Of a lesion whose field must be known."""
LEAST_EVIDENCE = -30.0
"""Where no rim brighter than the inside explains anything at all."""


def unexplained_ppb(chi_ppb: Array, field_ppb: Array, usable: Mask, grid: Grid) -> Array:
    """Return the local field minus that of a map of susceptibility; zero where it is not usable.

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


class RimEvidence(NamedTuple):
    """What the field of a lesion says, and what it could say.

    Attributes
    ----------
    log_ratio
        Natural logarithm of the evidence for a rim over that for none.
    visible_ppb
        Susceptibility from which a rim would be seen in a lesion of this shape and noise, of the
        width that is hardest to see among those that are looked for; NaN where none would be.
    """

    log_ratio: float
    visible_ppb: float


UNKNOWN = RimEvidence(float("nan"), float("nan"))


def rim_evidence(box: LesionBox, *, rule: FieldRule) -> RimEvidence:
    """Return what the field says of a rim.

    NaN where too little of the field of the lesion or of its surroundings is known.
    """
    depth_mm = signed_depth_mm(box.lesion, box.grid.voxel_size_mm)
    known = box.usable & np.isfinite(box.noise_ppb)
    around = box.tissue & box.usable & (depth_mm <= -rule.anew_mm) & (depth_mm >= -rule.used_mm)
    if around.sum() < LEAST_VOXELS or known[box.lesion].mean() < LEAST_SHARE:
        return UNKNOWN
    dipole = _Dipole(box.lesion.shape, box.grid)
    anew = (box.lesion | box.tissue) & box.usable & (depth_mm >= -rule.anew_mm)
    above_ppb = box.chi_ppb - np.median(box.chi_ppb[around])
    # What was taken out of the map near the lesion is in the field again.
    field_ppb = box.unexplained_ppb + dipole.field(np.where(anew, above_ppb, 0))
    used = known & (depth_mm >= -rule.used_mm)
    noise_ppb = float(np.hypot(np.median(box.noise_ppb[used]), rule.model_ppb))
    seen = _Field(field_ppb, used, noise_ppb, box.grid, rule)
    lines = StraightLines(box.lesion, box.grid.voxel_size_mm)
    even, rims = _explanations(seen, depth_mm, dipole, box.grid.voxel_size_mm, rule)
    # The veins that explain best what the best explanation of either kind leaves.
    veins = [
        vein
        for kind in (even, rims)
        for vein in _veins(max(kind, key=seen.evidence), seen, lines, dipole)
    ]
    best = max(_fits([*even, *rims], veins, seen, lines.count), key=lambda fit: fit.evidence)
    # What no explanation reaches is noise as well, else the less wrong of two would look certain.
    seen = seen.noisier(max(noise_ppb, best.left_ppb))
    visible_ppb = _visible_ppb(even, rims, seen)
    without = _fits(even, veins, seen, lines.count)
    with_rim = _fits(rims, veins, seen, lines.count)
    # A rim is brighter than the inside.
    brighter = [fit.evidence for fit in with_rim if fit.values[1] > 0]
    if not brighter:
        return RimEvidence(LEAST_EVIDENCE, visible_ppb)
    ratio = logsumexp(brighter) - np.log(len(with_rim))
    ratio -= logsumexp([fit.evidence for fit in without]) - np.log(len(without))
    return RimEvidence(max(float(ratio), LEAST_EVIDENCE), visible_ppb)


class _Explanation(NamedTuple):
    """Fields of unit sources, shape (voxels, sources), and what is expected of the sources."""

    fields: Vector
    expected_ppb: tuple[float, ...]

    def and_vein(self, field: Vector, expected: float) -> _Explanation:
        return _Explanation(np.column_stack([self.fields, field]), (*self.expected_ppb, expected))


class _FieldFit(NamedTuple):
    """Log evidence, up to a constant of the field; likeliest sources; root mean square left."""

    evidence: float
    values: Vector
    left_ppb: float


class _Field:
    """The field of a lesion at the voxels that are used, and how well it is explained."""

    def __init__(
        self, field_ppb: Array, used: Mask, noise_ppb: float, grid: Grid, rule: FieldRule
    ) -> None:
        self.used, self.rule, self._noise_ppb = used, rule, noise_ppb
        self._seen_ppb = self.at_voxels(field_ppb)
        places = np.argwhere(used) * np.array(grid.voxel_size_mm)
        # In units of a centimetre: the drift across a box is about as large as its level.
        linear = (places - places.mean(axis=0)) / 10
        self._drift = np.column_stack([np.ones(len(places)), linear])

    def noisier(self, noise_ppb: float) -> _Field:
        """Return the same field with another noise."""
        other = copy(self)
        other._noise_ppb = noise_ppb  # noqa: SLF001 - of the same class
        return other

    def at_voxels(self, field: Array) -> Vector:
        """Return an image as a list."""
        return field[self.used].astype(np.float64)

    def evidence(self, one: _Explanation) -> float:
        """Return the log evidence of an explanation."""
        return self.fit(one).evidence

    def fit(self, one: _Explanation) -> _FieldFit:
        """Explain the field."""
        fields, expected = self._with_drift(one)
        lower, half = self._solved(fields, expected, self._seen_ppb)
        evidence = 0.5 * float(half @ half) - float(np.log(np.diag(lower)).sum())
        values = np.linalg.solve(lower.T, half) * expected
        left_ppb = float(np.sqrt(np.mean((self._seen_ppb - fields @ values) ** 2)))
        return _FieldFit(evidence, values, left_ppb)

    def expected(self, one: _Explanation, field: Vector) -> tuple[float, float]:
        """Return the log evidence of an explanation if the field were another one.

        It is ``a * s**2 + b`` for ``s`` times ``field``, without noise; returned are a and b.
        """
        lower, half = self._solved(*self._with_drift(one), field)
        return 0.5 * float(half @ half), -float(np.log(np.diag(lower)).sum())

    def _solved(self, fields: Vector, expected: Vector, seen: Vector) -> tuple[Vector, Vector]:
        """Return the root of the posterior precision, and the projection of a field with it."""
        scaled = fields * (expected / self._noise_ppb)
        # Posterior of sources in units of what is expected: precision 1 + X'X.
        precision = scaled.T @ scaled + np.eye(expected.size)
        lower = np.asarray(np.linalg.cholesky(precision), np.float64)
        half = np.linalg.solve(lower, scaled.T @ seen / self._noise_ppb)
        return lower, np.asarray(half, np.float64)

    def left(self, one: _Explanation) -> Array:
        """Return the field that an explanation leaves, zero where it is not used."""
        rest = np.zeros(self.used.shape, np.float32)
        rest[self.used] = self._seen_ppb - self._with_drift(one)[0] @ self.fit(one).values
        return rest

    def _with_drift(self, one: _Explanation) -> tuple[Vector, Vector]:
        drift = [self.rule.drift_ppb] * self._drift.shape[1]
        return np.column_stack([one.fields, self._drift]), np.array([*one.expected_ppb, *drift])


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


FAINTEST_PPB = 5.0
"""Of the rims that are assumed: far below those that are looked for."""
STRENGTHS = 70
"""Of a rim that are tried: a twentieth apart."""


def _visible_ppb(
    even: Sequence[_Explanation], rims: Sequence[_Explanation], field: _Field
) -> float:
    """Return the strength from which rims of every width would be strong evidence.

    Veins are not asked: they may hide a rim, but where they lie is no matter of the lesion's shape.
    """
    rule = field.rule
    at_mask = int(np.abs(rule.borders_mm).argmin()) * len(rule.widths_mm)
    strengths = [
        _strength_ppb(even, rims, field, rims[at_mask + order].fields[:, 1])
        for order in range(len(rule.widths_mm))
    ]
    # NaN, one width that would not be seen, is the answer.
    return float(np.max(strengths))


def _strength_ppb(
    even: Sequence[_Explanation], rims: Sequence[_Explanation], field: _Field, rim: Vector
) -> float:
    """Return the strength from which a rim, whose field of 1 ppb is given, is strong evidence."""
    asked_ppb = np.geomspace(FAINTEST_PPB, field.rule.strongest_ppb, STRENGTHS)
    for_rim, for_none = (
        logsumexp(asked_ppb[:, None] ** 2 * growth + level, axis=1) - np.log(len(kind))
        for kind in (rims, even)
        for growth, level in [np.array([field.expected(one, rim) for one in kind]).T]
    )
    seen = for_rim - for_none >= field.rule.strong
    return float(asked_ppb[seen.argmax()]) if seen.any() else float("nan")


TRIED = 6
"""Lines whose field is computed."""


def _veins(
    one: _Explanation, field: _Field, lines: StraightLines, dipole: _Dipole
) -> Iterable[Vector]:
    """Return the fields of veins that may explain what an explanation leaves; the last is best."""
    # The kernel is its own adjoint: the field of what is left is bright along missing sources.
    tried = lines.brightest(dipole.field(field.left(one)), TRIED)

    def fitted(line: StraightLine) -> tuple[float, Vector]:
        made = field.at_voxels(dipole.field(lines.drawn(line)))
        return field.evidence(one.and_vein(made, field.rule.vein_ppb_mm2)), made

    found = [(*fitted(line), line) for line in tried]
    evidence, made, line = max(found, key=lambda each: each[0])
    for step_mm, turn_rad in NUDGES:
        for other in line.beside(step_mm, turn_rad):
            better, its_field = fitted(other)
            if better > evidence:
                evidence, made, line = better, its_field, other
    return (*(vein for _, vein, _ in found), made)


def _fits(
    explanations: Sequence[_Explanation], veins: Sequence[Vector], field: _Field, lines: int
) -> list[_FieldFit]:
    """Return the best fit of each explanation, with a vein where that pays."""
    return [_with_vein(one, veins, field, lines) for one in explanations]


def _with_vein(one: _Explanation, veins: Sequence[Vector], field: _Field, lines: int) -> _FieldFit:
    """Return the best fit of an explanation, with a vein where that pays."""
    best = field.fit(one)
    for vein in veins:
        fit = field.fit(one.and_vein(vein, field.rule.vein_ppb_mm2))
        # Any of the lines might have been the vein. Blood is paramagnetic.
        evidence = fit.evidence - np.log(lines)
        if evidence > best.evidence and fit.values[len(one.expected_ppb)] > 0:
            best = fit._replace(evidence=evidence)
    return best
