"""What a participant's report is made from. Everything but the name may be missing.

Images of one group share one world (RAS+ mm) but may lie on different grids and in any
orientation; a scan that has not been moved yet comes with its matrix, as a ``Registration``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bids_qsmthal.report.methods_run import MethodsRun

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from bids_qsmthal.core.image import Affine, Image
    from bids_qsmthal.report.page import Notice, Verdict


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GreMaps:
    """The gradient-echo scan and the maps made from it.

    Attributes
    ----------
    magnitude
        Shape (x, y, z, echo), or (x, y, z) for one echo.
    phase_rad
        Phase that grows with a positive frequency offset, of the shape of ``magnitude``.
    echo_times_s
        Echo times.
    brain, qsm_mask
        The brain, and the part of it that was inverted.
    total_field_hz, local_field_hz, chi_ppm, r2star_per_s
        Maps, shape (x, y, z).
    paramagnetic_ppm, diamagnetic_ppm
        Sources apart, where they were asked for.
    """

    magnitude: Image | None = None
    phase_rad: Image | None = None
    echo_times_s: Sequence[float] = ()
    brain: Image | None = None
    qsm_mask: Image | None = None
    total_field_hz: Image | None = None
    local_field_hz: Image | None = None
    chi_ppm: Image | None = None
    r2star_per_s: Image | None = None
    paramagnetic_ppm: Image | None = None
    diamagnetic_ppm: Image | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RegionMasks:
    """Regions in the space of the gradient-echo scan.

    Attributes
    ----------
    thalamus
        The final region, 1 left and 2 right.
    thalamus_label
        The same before erosion and cleaning.
    veins, csf_reference, lesions
        Masks.
    """

    thalamus: Image | None = None
    thalamus_label: Image | None = None
    veins: Image | None = None
    csf_reference: Image | None = None
    lesions: Image | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AnatomyMaps:
    """T1-weighted image and what was found in it.

    Attributes
    ----------
    tissue
        1 gray matter, 2 white matter, 3 CSF.
    deep_gray
        FreeSurfer's indices; ``deep_gray_names`` names those that FreeSurfer does not know.
    nuclei
        Nuclei of the thalamus; their names are in ``nuclei_names``.
    small_nuclei
        Parts of the pallidum and nuclei of the midbrain; their names are in ``small_nuclei_names``.
    thickness_mm
        Cortical thickness, zero outside the cortex.
    """

    t1w: Image | None = None
    brain: Image | None = None
    tissue: Image | None = None
    deep_gray: Image | None = None
    deep_gray_names: Mapping[int, str] = field(default_factory=dict)
    nuclei: Image | None = None
    nuclei_names: Mapping[int, str] = field(default_factory=dict)
    small_nuclei: Image | None = None
    small_nuclei_names: Mapping[int, str] = field(default_factory=dict)
    thickness_mm: Image | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LesionMaps:
    """FLAIR and T1w before and after contrast agent, with what was found in them."""

    flair: Image | None = None
    lesions: Image | None = None
    t1w: Image | None = None
    ce_t1w: Image | None = None
    enhancing: Image | None = None


@dataclass(frozen=True, slots=True)
class RimCandidate:
    """A lesion that may have a paramagnetic rim.

    Attributes
    ----------
    number
        In the table and the labels of lesions.
    said
        Whether it has one, as the table of lesions says it.
    probability
        By the model of rims; NaN where it gave none.
    """

    number: int
    said: str
    probability: float
    diameter_mm: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LesionIronMaps:
    """Iron in lesions.

    Attributes
    ----------
    labels_t1w, labels_gre
        Number of each lesion on the grids of T1w and of the gradient echo.
    gre_to_t1w
        4x4: a point of the gradient echo's world (mm) to that of T1w.
    means_ppb
        By number, less normal-appearing white matter; NaN where not known.
    rims
        Numbers of the lesions with a rim.
    candidates
        Those to look at, most likely first.
    assessed
        How many lesions have a rim or would show one.
    least_mm, shown_from
        Diameter from which a rim is looked for, and probability from which a lesion is a candidate.
    table
        One row per lesion.
    """

    labels_t1w: Image
    labels_gre: Image
    gre_to_t1w: Affine
    chi_ppm: Image
    normal_white_ppb: float
    means_ppb: Mapping[int, float]
    rims: frozenset[int]
    candidates: Sequence[RimCandidate]
    assessed: int
    least_mm: float
    shown_from: float
    table: pd.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AtlasMaps:
    """An atlas of the user in this participant.

    Attributes
    ----------
    labels
        Its regions on the grid of T1w; where they overlap the most probable.
    names
        What the numbers of ``labels`` mean.
    colors
        The colour of each of them, as in the table beside the image.
    table
        One row per region with what was measured in it.
    """

    name: str
    labels: Image
    names: Mapping[int, str]
    colors: Mapping[int, str]
    table: pd.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Registration:
    """Two scans of one head.

    Attributes
    ----------
    name
        ``gradient echo to T1w``, say.
    shown
        What the fixed and what the moving image is, for the titles of their figures.
    matrix
        4x4: a point of the moving world (mm) to the fixed world.
    outlines
        Masks or labels of the fixed image by name, drawn on both.
    quality
        Measures of agreement, by name.
    """

    name: str
    fixed: Image
    moving: Image
    matrix: Affine
    outlines: Mapping[str, Image] = field(default_factory=dict)
    quality: Mapping[str, float] = field(default_factory=dict)
    shown: tuple[str, str] = ("fixed image", "moving image, registered")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ParticipantReport:
    """All that a participant's page shows.

    Attributes
    ----------
    participant_id, session_id, run_id
        With prefix: ``sub-01``, ``ses-1``, ``run-1``; empty where there is none.
    gre_name
        How the names of files made from the gradient echo begin, if otherwise than with these
        three: ``sub-01_acq-highres_run-1``.
    measures
        The tidy table of measures (``measure region hemisphere value unit ...``).
    quality
        One row a check; a column ``verdict`` holds include, check or exclude.
    sensitivity
        One row a variant of the analysis and side, with columns ``choice``, ``variant``,
        ``hemisphere`` and ``value`` (ppb); the first variant is the number reported.
    samples_ppb
        Susceptibility of the voxels of regions, by name, for the histogram.
    template
        T1w and the template bent onto it, where the atlas was carried by it.
    methods_run
        What ran.
    sources
        Where external numbers and images come from, by what they are.
    stages
        Title of every stage in order, and whether it was done or why not.
    scanned_on
        Date of the scan as the dataset gives it; empty where it gives none.
    inputs
        Raw files that were read, from the dataset's root.
    """

    participant_id: str
    session_id: str = ""
    run_id: str = ""
    gre_name: str = ""
    verdict: Verdict | None = None
    measures: pd.DataFrame | None = None
    quality: pd.DataFrame | None = None
    sensitivity: pd.DataFrame | None = None
    samples_ppb: Mapping[str, NDArray[np.floating]] = field(default_factory=dict)
    gre: GreMaps = field(default_factory=GreMaps)
    regions: RegionMasks = field(default_factory=RegionMasks)
    anatomy: AnatomyMaps = field(default_factory=AnatomyMaps)
    lesions: LesionMaps = field(default_factory=LesionMaps)
    lesion_iron: LesionIronMaps | None = None
    atlases: Sequence[AtlasMaps] = ()
    template: Registration | None = None
    registrations: Sequence[Registration] = ()
    warnings: Sequence[Notice] = ()
    methods_run: MethodsRun = field(default_factory=MethodsRun)
    versions: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    stages: Sequence[tuple[str, str]] = ()
    command: str = ""
    scanned_on: str = ""
    inputs: Sequence[str] = ()
    links: Sequence[tuple[str, str]] = ()
    among: str = ""

    @property
    def stem(self) -> str:
        """How the names of the files of this page begin."""
        if self.gre_name:
            return self.gre_name
        return "_".join(
            part for part in (self.participant_id, self.session_id, self.run_id) if part
        )
