"""What a reader must know of a scan, as values: a class says what it is, its fields are the data.

The rooms that compute return these. Their sentences, and what can be done about each, stand in
``report.sentences``; whoever decides something asks for the class or a field, never for a text.
To add a warning, write its class here and its row there.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ScanWarning:
    """Base of every warning about a scan."""


# The choice of scans.


@dataclass(frozen=True, slots=True)
class T1wOfAnotherSession(ScanWarning):
    """T1w was acquired in another session, as the user asked."""

    session: str


@dataclass(frozen=True, slots=True)
class UniformWithNoise(ScanWarning):
    """T1w is the uniform image of MP2RAGE, and its inversion images are not there."""


@dataclass(frozen=True, slots=True)
class ScanUnusable(ScanWarning):
    """A scan is there and cannot be used; the others were.

    Attributes
    ----------
    scan
        As a reader calls it.
    reason
        What is wrong with it, and what to do.
    """

    scan: str
    reason: str


# The brain and its registrations.


@dataclass(frozen=True, slots=True)
class BrainVolumeImplausible(ScanWarning):
    """The brain mask has a volume that few adults have."""

    volume_ml: float
    lowest_ml: float
    highest_ml: float


@dataclass(frozen=True, slots=True)
class BrainAtImageEdge(ScanWarning):
    """The brain mask touches so many of the six faces of the image."""

    faces: int


@dataclass(frozen=True, slots=True)
class TemplateRegistrationFailed(ScanWarning):
    """T1w and the template that was carried to it correlate too little."""

    correlation: float
    lowest: float


@dataclass(frozen=True, slots=True)
class RegistrationNotSharp(ScanWarning):
    """Two scans share hardly less information when one is shifted."""

    shift_mm: float


@dataclass(frozen=True, slots=True)
class BrainsDoNotOverlap(ScanWarning):
    """The brain masks of two registered scans overlap too little."""

    overlap_percent: float
    lowest_percent: float


# The segmentation of T1w.


@dataclass(frozen=True, slots=True)
class ContrastNotT1w(ScanWarning):
    """Mean intensities do not ascend from fluid over gray to white matter."""

    fluid: float
    gray_matter: float
    white_matter: float


@dataclass(frozen=True, slots=True)
class TissueNotConverged(ScanWarning):
    """The tissue classes were still changing at the last iteration."""


@dataclass(frozen=True, slots=True)
class ThalamiOfImplausibleSize(ScanWarning):
    """The thalami are too large or too small for the intracranial volume."""

    percent_of_intracranial: float


@dataclass(frozen=True, slots=True)
class ThicknessImplausible(ScanWarning):
    """The cortex is thinner or thicker on average than a human one."""

    thickness_mm: float
    lowest_mm: float
    highest_mm: float


@dataclass(frozen=True, slots=True)
class ThalamiElsewhere(ScanWarning):
    """External thalami and those of the registered atlas lie in different places."""

    source: str
    overlap_percent: float
    lowest_percent: float


# Lesions.


@dataclass(frozen=True, slots=True)
class FlairNoisy(ScanWarning):
    """White matter varies on FLAIR by more than this share of its mean."""

    limit_percent: float


@dataclass(frozen=True, slots=True)
class GrayLikeWhiteMatter(ScanWarning):
    """Gray and white matter have nearly the same intensity on T1w."""


@dataclass(frozen=True, slots=True)
class LesionsFromFlairAlone(ScanWarning):
    """There was no T1w to tell tissues by; no lesion was looked for near the surface."""

    surface_mm: float


@dataclass(frozen=True, slots=True)
class FlairCoversPart(ScanWarning):
    """FLAIR shows only this part of the brain."""

    cover_percent: float


@dataclass(frozen=True, slots=True)
class EnhancementWithoutLesions(ScanWarning):
    """Enhancement was looked for without a mask of T2 lesions."""


@dataclass(frozen=True, slots=True)
class EnhancementReadDifferently(ScanWarning):
    """A table of the dataset and the images differ about enhancing lesions.

    Attributes
    ----------
    present_in_table
        What the table says.
    count_in_images
        How many enhancing lesions the images show.
    """

    present_in_table: bool
    count_in_images: int


# Phase and susceptibility.


@dataclass(frozen=True, slots=True)
class NoGradientEcho(ScanWarning):
    """There is no scan to make susceptibility from."""


@dataclass(frozen=True, slots=True)
class PhaseMissing(ScanWarning):
    """The gradient echo has magnitude alone: R2* is measured, and no susceptibility."""


@dataclass(frozen=True, slots=True)
class FieldWithoutPhase(ScanWarning):
    """Susceptibility comes from an external total field that no phase of the scan confirms."""


@dataclass(frozen=True, slots=True)
class PhaseSignUnknown(ScanWarning):
    """Neither data nor manufacturer tell whether phase grows with frequency."""


@dataclass(frozen=True, slots=True)
class PhaseIsNoise(ScanWarning):
    """The phase of neighbouring voxels differs as noise does, in every echo.

    Attributes
    ----------
    quality
        0.5 for noise, 1 for a smooth phase.
    """

    quality: float


@dataclass(frozen=True, slots=True)
class EchoPhaseIsNoise(ScanWarning):
    """The phase of some echoes is noise, although their magnitude has signal.

    Attributes
    ----------
    echoes
        Which, counted from 1, as in ``1, 3``.
    quality
        Of the worst: 0.5 for noise, 1 for a smooth phase.
    """

    echoes: str
    quality: float


@dataclass(frozen=True, slots=True)
class PhaseSignUnusual(ScanWarning):
    """The data say another sign of the phase than the manufacturer is known for.

    Attributes
    ----------
    sign, usual_sign
        1 or -1: by the data, and of this manufacturer.
    evidence
        How clearly the data say it, -1 to 1.
    """

    sign: int
    evidence: float
    manufacturer: str
    usual_sign: int


@dataclass(frozen=True, slots=True)
class MainFieldByAlignment(ScanWarning):
    """The direction of B0 is that of an affine which aligns the scan to another one.

    Right only where that other scan lies as the scanner saw it.

    Attributes
    ----------
    name
        ``sform`` or ``qform``.
    """

    name: str


@dataclass(frozen=True, slots=True)
class MainFieldAssumed(ScanWarning):
    """No affine of the header is said to be the scanner's; B0 was taken from DICOM's orientation.

    Attributes
    ----------
    sform_code, qform_code
        Their meanings in NIfTI-1; 1 would be the scanner's.
    """

    sform_code: int
    qform_code: int


@dataclass(frozen=True, slots=True)
class FrequencyOfAnotherField(ScanWarning):
    """The imaging frequency is that of another field than the stated one; it was taken."""

    frequency_mhz: float
    its_field_t: float
    stated_field_t: float


@dataclass(frozen=True, slots=True)
class FrequencyInOtherUnit(ScanWarning):
    """The imaging frequency fits the field in another unit than BIDS wants."""

    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class FrequencyUnusable(ScanWarning):
    """The imaging frequency of the sidecars is no positive number; tesla was taken."""

    value: str


@dataclass(frozen=True, slots=True)
class NumbersAsText(ScanWarning):
    """Sidecars hold numbers in quotes, or in a list of one; they were read as numbers."""

    keys: str


@dataclass(frozen=True, slots=True)
class ScanAfterContrast(ScanWarning):
    """The sidecars of the gradient echo name a contrast agent."""

    agent: str


@dataclass(frozen=True, slots=True)
class GapBetweenSlices(ScanWarning):
    """Slices are thinner than their distance: the field between them was not measured."""

    thickness_mm: float
    spacing_mm: float


@dataclass(frozen=True, slots=True)
class SlicesElsewhere(ScanWarning):
    """The sidecars have another distance of slices than any side of the voxels."""

    spacing_mm: float
    voxel_mm: str


@dataclass(frozen=True, slots=True)
class ZeroFilled(ScanWarning):
    """The matrix of the image is larger than that which was acquired."""

    acquired: int
    reconstructed: int


@dataclass(frozen=True, slots=True)
class PhaseScaleByRange(ScanWarning):
    """The header is silent about the scale of the phase; its range is a known whole turn."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PhaseScaleUnconfirmed(ScanWarning):
    """The last echo fills only a part of a turn and does not wrap."""

    turns: float


@dataclass(frozen=True, slots=True)
class PhaseUnwrappedAlready(ScanWarning):
    """The phase spans more than a turn without wraps, and was taken as unwrapped."""

    turns: float


@dataclass(frozen=True, slots=True)
class PhaseVoxelsBeyondTurn(ScanWarning):
    """A few voxels lie beyond a turn of phase and were taken as not measured."""

    voxels: int


@dataclass(frozen=True, slots=True)
class PhaseCalledFiltered(ScanWarning):
    """The header speaks of a filter that the data do not show."""

    labels: str


@dataclass(frozen=True, slots=True)
class PhaseLooksFiltered(ScanWarning):
    """The phase has as little slow field as a filtered one, and the user says that it is not."""

    slow_rad: float
    slow_hz: float


@dataclass(frozen=True, slots=True)
class DistortionCorrectedApart(ScanWarning):
    """The headers say that only one of magnitude and phase was corrected for distortion."""

    magnitude: str
    phase: str


@dataclass(frozen=True, slots=True)
class MagnitudeDisplaced(ScanWarning):
    """The magnitude lies so many voxels beside the phase, along each axis of the array."""

    first: float
    second: float
    third: float


@dataclass(frozen=True, slots=True)
class MagnitudeDistorted(ScanWarning):
    """Parts of the magnitude lie up to so many voxels beside the phase; the whole does not."""

    first: float
    second: float
    third: float


@dataclass(frozen=True, slots=True)
class MagnitudeFlipped(ScanWarning):
    """The magnitude fits the phase better when it is mirrored.

    Attributes
    ----------
    axes
        Along which axes of the array, counted from 1, as in ``1, 3``.
    """

    axes: str


@dataclass(frozen=True, slots=True)
class AlternationLeft(ScanWarning):
    """Odd and even echoes differ by a smooth phase that alternating readouts do not explain."""

    difference_rad: float


@dataclass(frozen=True, slots=True)
class AcquiredInSlices(ScanWarning):
    """The sidecars say that the gradient echo was acquired slice by slice."""


@dataclass(frozen=True, slots=True)
class SliceStepRemoved(ScanWarning):
    """Odd and even slices differed by a phase, which was taken out.

    Attributes
    ----------
    step_rad, step_hz
        In the last echo, and the frequency that gives as much.
    """

    step_rad: float
    step_hz: float


@dataclass(frozen=True, slots=True)
class SliceStepVaried(ScanWarning):
    """The step between odd and even slices changed within a slice; a plane was taken out.

    Attributes
    ----------
    edge_hz
        From the middle of the head to its edge.
    """

    edge_hz: float


@dataclass(frozen=True, slots=True)
class SliceStepsLeft(ScanWarning):
    """Neighbouring slices differ by more than a head does, in no regular way."""

    left_hz: float


@dataclass(frozen=True, slots=True)
class OneEcho(ScanWarning):
    """A single echo gives no R2* and cannot tell the phase offset from the field."""


@dataclass(frozen=True, slots=True)
class NoVentricularCsf(ScanWarning):
    """No CSF was found to hold uniform during inversion."""


@dataclass(frozen=True, slots=True)
class BrainLostToBackground(ScanWarning):
    """Removing the background left this share of the brain without a local field."""

    fraction: float


@dataclass(frozen=True, slots=True)
class InversionNotConverged(ScanWarning):
    """The dipole inversion was still changing at its last iteration."""


# Regions and the number.


@dataclass(frozen=True, slots=True)
class BeyondLimit(ScanWarning):
    """A quality measure is outside the range in which it is unsuspicious.

    Attributes
    ----------
    measure
        Its name, as in ``roi.LIMITS``.
    """

    measure: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class NoR2StarMap(ScanWarning):
    """Veins and choroid plexus were told without R2*."""


@dataclass(frozen=True, slots=True)
class ThalamusRimKept(ScanWarning):
    """Without its rim too little of the thalamus would have remained."""


@dataclass(frozen=True, slots=True)
class NucleiUnresolved(ScanWarning):
    """Small nuclei were not measured: too few voxels lie wholly inside.

    Attributes
    ----------
    nuclei
        Name and side (``L``, ``R``) of each.
    voxels
        How many it takes.
    """

    nuclei: tuple[tuple[str, str], ...]
    voxels: int


@dataclass(frozen=True, slots=True)
class ExternalMask(ScanWarning):
    """A mask of the user was measured in place of ours.

    Attributes
    ----------
    region
        ``thalamus``, ``reference`` or ``veins``.
    """

    region: str


@dataclass(frozen=True, slots=True)
class ThalamusUnknown(ScanWarning):
    """Nothing says where the thalamus is."""
