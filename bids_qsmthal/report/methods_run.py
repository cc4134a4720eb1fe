"""What ran, as the objects that ran it: the methods text is made from these and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from bids_qsmthal import __version__
from bids_qsmthal.bids.protocol import AcquisitionProtocol
from bids_qsmthal.core.sources import OURS, Source
from bids_qsmthal.qsm import MaskChoice

if TYPE_CHECKING:
    from bids_qsmthal.core.grid import Grid
    from bids_qsmthal.qsm import Acquisition, Reconstruction
    from bids_qsmthal.qsm.phase import PhaseReport
    from bids_qsmthal.qsm.relaxation import Relaxation
    from bids_qsmthal.qsm.scaling import Scale
    from bids_qsmthal.qsm.separation import R2StarSeparation
    from bids_qsmthal.roi import ReferenceLevel, ReferenceRegion


class Uniform(Enum):
    """What was done with the noise in the air of a uniform image of MP2RAGE."""

    DENOISED = "denoised"
    AS_IT_IS = "as_it_is"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnatomyRun:
    """What was made from T1w.

    Attributes
    ----------
    atlas
        The space of the atlas.
    classified
        Whether tissues were classified; not where labels and tissues are external.
    lesions_filled
        Whether lesions were filled before.
    thalamus_refined
        Whether the border of the thalamus was found in the image; not where labels are external.
    thickness
        Whether the reported thickness was computed here.
    uniform
        What was done with the uniform image of MP2RAGE; None for an ordinary T1w.
    session
        The session T1w was acquired in, where it is another one.
    """

    atlas: str
    classified: bool = True
    lesions_filled: bool = False
    thalamus_refined: bool = True
    thickness: bool = True
    uniform: Uniform | None = None
    session: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalNumbers:
    """Volumes, and thickness where the program measures it, that were taken from a table."""

    source: Source
    thickness: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanRun:
    """What was made from the gradient echo.

    Attributes
    ----------
    grid
        Of the scan, with the direction of B0.
    phase
        Which conventions were undone; None where the scan has no phase and the field was given.
    scale
        How the stored phase became radians; None for real and imaginary parts.
    offset
        How the phase at echo time zero was modelled, as in ``qsm.field.FieldMap``.
    csf_held
        Whether there was CSF for MEDI+0 to keep uniform.
    mask
        In which voxels susceptibility was reconstructed.
    chi, r2star, total_field
        Who made the maps that were measured, and the total field.
    protocol
        How it was acquired, as far as sidecars say.
    separation
        How sources of both signs were told apart; None where they were not.
    r2
        Who measured R2; None where it was assumed.
    """

    acquisition: Acquisition
    grid: Grid
    phase: PhaseReport | None
    scale: Scale | None
    reconstruction: Reconstruction
    offset: str
    csf_held: bool
    mask: MaskChoice = field(default_factory=MaskChoice)
    chi: Source = OURS
    r2star: Source = OURS
    total_field: Source = OURS
    protocol: AcquisitionProtocol = field(default_factory=AcquisitionProtocol)
    separation: R2StarSeparation | None = None
    r2: Source | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MagnitudeRun:
    """What was made from a gradient echo of magnitude alone: R2*, fitted by ``relaxation``."""

    acquisition: Acquisition
    grid: Grid
    relaxation: Relaxation
    r2star: Source = OURS
    protocol: AcquisitionProtocol = field(default_factory=AcquisitionProtocol)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionsRun:
    """What was measured.

    Attributes
    ----------
    reference
        The level of the reference ladder that was used.
    first_choice
        Where the ladder started.
    thalamus, veins
        Who made the masks.
    rim_removed, lesions_removed
        Whether they were left out of the thalamus.
    rim_kept, lesions_kept
        Whether the user wanted them kept in it.
    large_veins_only
        Whether only the large veins along the border were left out.
    """

    reference: ReferenceLevel
    first_choice: ReferenceRegion
    thalamus: Source = OURS
    veins: Source = OURS
    reference_mask: Source = OURS
    rim_removed: bool = True
    lesions_removed: bool = False
    rim_kept: bool = False
    lesions_kept: bool = False
    large_veins_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionIronRun:
    """What was measured in single lesions.

    Attributes
    ----------
    least_mm
        Diameter from which a rim was looked for on the voxels of the scan.
    threshold
        Probability from which a lesion is called one with a rim.
    rims
        Who decided which lesions have one.
    """

    least_mm: float
    threshold: float
    rims: Source = OURS


@dataclass(frozen=True, slots=True, kw_only=True)
class AtlasRun:
    """How an atlas of the user became regions of the participant.

    Attributes
    ----------
    space
        Of its file.
    in_template
        Whether it was carried by the deformable registration.
    threshold
        Probability above which a voxel belongs to a region; None for labels.
    """

    name: str
    space: str
    in_template: bool
    threshold: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodsRun:
    """All that ran for one page; what did not run is None or empty.

    Attributes
    ----------
    version
        Of this package.
    brains
        Who made the brain mask of each scan that has one of its own, by the scan's name.
    scans_registered
        Whether scans of one head were registered to each other.
    external_labels
        Who made labels that took the place of ours, by what they show.
    lesions, enhancement
        Who made the masks.
    lesion_iron
        What was measured in single lesions.
    scan, magnitude
        What was made from the gradient echo, with its phase or from its magnitude alone.
    atlases
        Those of the user whose regions were measured.
    analysis
        Name of the statistical analysis.
    group_texts
        What else the group level did: paragraphs by their headings.
    """

    version: str = __version__
    brains: Mapping[str, Source] = field(default_factory=dict)
    anatomy: AnatomyRun | None = None
    scans_registered: bool = False
    external_labels: Mapping[str, Source] = field(default_factory=dict)
    external_numbers: ExternalNumbers | None = None
    lesions: Source | None = None
    enhancement: Source | None = None
    lesion_iron: LesionIronRun | None = None
    scan: ScanRun | None = None
    magnitude: MagnitudeRun | None = None
    regions: RegionsRun | None = None
    atlases: tuple[AtlasRun, ...] = ()
    analysis: str | None = None
    group_texts: Mapping[str, str] = field(default_factory=dict)
