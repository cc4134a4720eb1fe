"""One digital head as a value: drawn once (``heads``), then sampled (``compositions``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bids_qsmthal.core.image import Image
    from bids_qsmthal.simulate.envelope import Envelope, LabelledEnvelope
    from bids_qsmthal.simulate.templates import Templates
    from bids_qsmthal.simulate.veins import Vein
    from bids_qsmthal.simulate.warps import RandomWarp


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class HeadAnatomy:
    """Where the tissues of a head are: of the warped atlas, or of a label map.

    Attributes
    ----------
    name
        Of the file, or ``atlas``.
    templates, warp, envelope, cortical_loss
        As in ``Head``.
    """

    name: str
    templates: Templates
    warp: RandomWarp
    envelope: Envelope | LabelledEnvelope
    cortical_loss: float = 0.0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Given:
    """What of a participant is given and not drawn.

    Attributes
    ----------
    anatomy
        The head; the atlas is warped by default.
    lesion_shapes
        Level sets (mm, negative inside) on grids of ``heads.TERRAIN_STEP_MM``; blobs by default.
    """

    anatomy: HeadAnatomy | None = None
    lesion_shapes: tuple[NDArray[np.float32], ...] = ()


NOTHING_GIVEN: Final = Given()


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A participant's anatomy as a function of space; coordinates are head mm, RAS.

    Attributes
    ----------
    templates, warp, envelope
        The atlas, the map into it, and the head around the brain.
    lesions, enhancing
        Level sets in mm.
    plexus
        Centre and semi-axes (mm) of the choroid plexus in each atrium.
    calcified_fraction
        Fraction of the plexus that is calcification.
    veins
        Tubes.
    texture
        Smooth noise of unit variance: tissue is not uniform.
    chi_ppb
        Susceptibility of each tissue in this participant.
    thalamus_asymmetry_ppb, nuclei_mean_ppb
        Right minus left thalamus; mean of the nuclei's pattern, taken off.
    cortical_loss
        Fraction by which the gray prior is weakened.
    """

    templates: Templates
    warp: RandomWarp
    envelope: Envelope | LabelledEnvelope
    lesions: Image
    enhancing: Image
    plexus: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]
    calcified_fraction: float
    veins: tuple[Vein, ...]
    texture: Image
    chi_ppb: NDArray[np.float32]
    thalamus_asymmetry_ppb: float
    nuclei_mean_ppb: float
    cortical_loss: float
