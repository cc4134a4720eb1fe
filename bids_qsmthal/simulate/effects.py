"""What real scanners and living heads do to a gradient echo, beyond the plain scan: one value each.

The plain scan has a smooth coil, white noise, 3-D encoding and blood at rest. Every part of
``Effects`` changes one of these; several may act together.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from bids_qsmthal.core.affine import starting_at
from bids_qsmthal.simulate.coils import CoilArray, FringeLine, PhaseBump
from bids_qsmthal.simulate.flow import Flow
from bids_qsmthal.simulate.sampling import (
    BipolarReadout,
    HighPassPhase,
    InterleavedSlices,
    KSpace,
)
from bids_qsmthal.simulate.sources import SourceSpread
from bids_qsmthal.simulate.tissues import ROW

if TYPE_CHECKING:
    from bids_qsmthal.simulate.gradient_echo import Fields, FineModel

Float = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slab:
    """Some slices of the protocol; the head beyond them still makes its field.

    Attributes
    ----------
    first, slices
        Which, counted from the first slice of the protocol.
    edge
        Slices at either end over which the excitation rises to full strength.
    """

    first: int
    slices: int
    edge: int = 2

    def cut(self, model: FineModel, field: Fields, factor: int) -> tuple[FineModel, Fields]:
        """Return the part of a model and its fields that lies in the slab."""
        part = np.s_[:, :, self.first * factor : (self.first + self.slices) * factor]
        inside: dict[str, Any] = {
            item.name: getattr(model, item.name)[part]
            for item in fields(model)
            # Iron is known where it was asked for.
            if item.name != "affine" and getattr(model, item.name) is not None
        }
        affine = starting_at(model.affine, (0, 0, self.first * factor))
        whole = replace(model, affine=affine, **inside)
        return whole, replace(field, local_hz=field.local_hz[part], total_hz=field.total_hz[part])

    def profile(self, length: int, factor: int) -> Float:
        """Return the excitation of each fine plane, 0 to 1."""
        plane = (np.arange(length, dtype=np.float32) + 0.5) / factor
        inside = np.minimum(plane, length / factor - plane)
        return np.asarray(np.clip(inside / max(self.edge, 0.5), 0, 1), np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class TissueOffset:
    """Gray and white matter whose mean is not that of CSF.

    In the plain head +10 and -30 ppb nearly cancel over the brain, so tissue that is taken for CSF
    does little harm. The mean of the brain against CSF differs between studies by tens of ppb
    (Straub 2017, Magn Reson Med 78:204-214).

    Attributes
    ----------
    ppb
        Added to cortical gray, white matter and brainstem.
    """

    ppb: float = -20.0

    def moved(self, chi_ppb: Float) -> Float:
        """Return the susceptibilities of a head with its tissues moved; deep gray matter stays."""
        moved = chi_ppb.copy()
        moved[[ROW["gray"], ROW["white"], ROW["brainstem"]]] += np.float32(self.ppb)
        return moved


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """What a gradient-echo scan has beyond the plain one; ``None`` where it has not.

    Attributes
    ----------
    tissue
        Susceptibility of gray and white matter.
    sources
        Iron and myelin that vary apart, with R2* that follows them.
    slab
        Part of the head that is scanned.
    flow
        Of blood.
    coils
        Gain and noise of an array of coils.
    phase_offsets
        Phases of all echoes that no polynomial follows.
    bipolar, k_space, slices
        How the signal is read.
    filtering
        Of the phase, last.
    """

    tissue: TissueOffset | None = None
    sources: SourceSpread | None = None
    slab: Slab | None = None
    flow: Flow | None = None
    coils: CoilArray | None = None
    phase_offsets: tuple[PhaseBump | FringeLine, ...] = ()
    bipolar: BipolarReadout | None = None
    k_space: KSpace | None = None
    slices: InterleavedSlices | None = None
    filtering: HighPassPhase | None = None


PLAIN: Final = Effects()
