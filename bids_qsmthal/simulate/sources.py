"""Iron and myelin apart: two sources of susceptibility in each tissue, and the decay they make.

The tissues of the plain head hold both already: their R2* less 1/T2 is what sources of both signs
make (Shin 2021, doi 10.1016/j.neuroimage.2021.118371), their susceptibility is the difference
of the two. The thalamus comes to 16 and -36 ppb by this, white matter to 6 and -36, the pallidum to
144 and -22. Here iron, myelin and T2 vary between people, and R2* follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from bids_qsmthal.qsm.separation import RELAXIVITY_HZ_PER_PPM, field_growth, r2_growth
from bids_qsmthal.simulate.tissues import FLUIDS, NAMES, ROW, property_of, r2star_at_hz

if TYPE_CHECKING:
    from collections.abc import Sequence

Float = NDArray[np.float32]

TOGETHER: Final = (
    ("thalamus", "thalamus_lateral"),
    ("white",),
    ("gray",),
    ("brainstem",),
    *(("caudate",), ("putamen",), ("pallidum_external", "pallidum_internal")),
    *(("hippocampus",), ("amygdala",), ("red_nucleus",), ("substantia_nigra",), ("dentate",)),
    ("lesion", "enhancing"),
    *(("accumbens",), ("subthalamic_nucleus",)),
)
"""Tissues whose sources vary as one; each group on its own."""


@dataclass(frozen=True, slots=True, eq=False)
class TissueSources:
    """Sizes of both sources (ppb, never negative) and R2* at 3 T, in the order of the tissues."""

    iron_ppb: Float
    myelin_ppb: Float
    r2star_hz: Float

    @property
    def chi_ppb(self) -> Float:
        """What susceptibility maps show."""
        return self.iron_ppb - self.myelin_ppb

    def r2star_at_hz(self, field_t: float) -> Float:
        """Return R2* at a field: what sources make grows with it, R2 of tissue more slowly."""
        rows = _with_sources()
        made = np.float32(RELAXIVITY_HZ_PER_PPM / 1000) * (self.iron_ppb + self.myelin_ppb)
        rest = self.r2star_hz - made
        at_field = r2star_at_hz(field_t, self.r2star_hz)
        grown = made * np.float32(field_growth(field_t)) + rest * np.float32(r2_growth(field_t))
        at_field[rows] = grown[rows]
        return at_field


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpread:
    """How iron and myelin vary between people, apart from each other.

    Attributes
    ----------
    iron_ppb, myelin_ppb
        Standard deviation of either source of a group of tissues. Lesions and thalami of people
        with multiple sclerosis vary by as much (Shin 2021; Dimov 2022,
        doi 10.3390/tomography8030127).
    r2_share
        Standard deviation of 1/T2, relative: 3 % between people of one age.
    """

    iron_ppb: float = 15.0
    myelin_ppb: float = 10.0
    r2_share: float = 0.03

    def drawn(self, chi_ppb: Float, generator: np.random.Generator) -> TissueSources:
        """Return the sources of one person, from the susceptibilities of a head."""
        iron, myelin = plain_sources(chi_ppb)
        r2_hz = 1 / property_of("t2_s")
        for names in TOGETHER:
            group = [ROW[name] for name in names]
            more = generator.normal(0, 1, 3).astype(np.float32)
            iron[group] += np.float32(self.iron_ppb) * more[0]
            myelin[group] += np.float32(self.myelin_ppb) * more[1]
            r2_hz[group] *= 1 + np.float32(self.r2_share) * more[2]
        iron, myelin = np.maximum(iron, 0), np.maximum(myelin, 0)
        made = np.float32(RELAXIVITY_HZ_PER_PPM / 1000) * (iron + myelin)
        r2star = property_of("r2star_hz")
        rows = _with_sources()
        r2star[rows] = (r2_hz + made)[rows]
        return TissueSources(iron, myelin, r2star)


def plain_sources(chi_ppb: Float) -> tuple[Float, Float]:
    """Return iron and myelin (ppb) of the plain tissues, for the susceptibilities of a head.

    What a head differs by from the mean is iron.
    """
    rows = _with_sources()
    mean = property_of("chi_ppb")
    made = property_of("r2star_hz") - 1 / property_of("t2_s")
    size = np.maximum(made * np.float32(1000 / RELAXIVITY_HZ_PER_PPM), np.abs(mean))
    iron = np.maximum((size + mean) / 2 + chi_ppb - mean, 0)
    # Less iron than none is more myelin: susceptibility stays that of the head.
    myelin = iron - chi_ppb
    iron = iron - np.minimum(myelin, 0)
    # Fluid, bone and air hold one source each.
    outside = np.setdiff1d(np.arange(len(NAMES)), rows)
    iron[outside] = np.maximum(chi_ppb, 0)[outside]
    return iron.astype(np.float32), (iron - chi_ppb).astype(np.float32)


def _with_sources() -> Sequence[int]:
    """Return the rows of brain tissue: not fluids, nor what lies outside."""
    beyond = ROW["dura"]
    return [row for row, name in enumerate(NAMES) if row < beyond and name not in FLUIDS]
