"""What the regions are measured from, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from bids_qsmthal.core.errors import DataError

if TYPE_CHECKING:
    from bids_qsmthal.core.image import Affine, Image

NO_NAMES: Mapping[int, str] = MappingProxyType({})
NO_METRICS: Mapping[str, float] = MappingProxyType({})
NO_MAPS: Mapping[str, Image] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExternalRegions:
    """Masks drawn by the user on the GRE grid; each replaces the stage that would make it.

    Attributes
    ----------
    thalamus
        1 left, 2 right, final: measured as it is.
    reference
        CSF reference; any value above 0.
    veins
        Veins to leave out; any value above 0.
    """

    thalamus: Image | None = None
    reference: Image | None = None
    veins: Image | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Segmentation:
    """What is known on the T1w grid (or any grid of its own).

    Attributes
    ----------
    deepgray
        Labels with FreeSurfer's indices (10/49 thalamus, 4/43 lateral ventricle, ...).
    gre_to_t1w
        4x4 matrix from a RAS world point (mm) of the GRE scan to the world of these images.
    names
        Names of labels that FreeSurfer does not number, such as ``{201: "Left-Red-Nucleus"}``.
    thalamus_probability
        Left and right, 0..1: replace the label where partial volume is concerned.
    nuclei, nuclei_names
        Thalamic nuclei and what their indices mean.
    small_nuclei, small_nuclei_names
        Parts of the pallidum, nuclei of the midbrain; what their indices mean.
    atria
        1 left, 2 right; the posterior third of the lateral ventricles if None.
    vein_prior, csf_probability
        0..1.
    lesions
        Any value above 0.
    """

    deepgray: Image
    gre_to_t1w: Affine
    names: Mapping[int, str] = field(default_factory=lambda: NO_NAMES)
    thalamus_probability: tuple[Image, Image] | None = None
    nuclei: Image | None = None
    nuclei_names: Mapping[int, str] = field(default_factory=lambda: NO_NAMES)
    small_nuclei: Image | None = None
    small_nuclei_names: Mapping[int, str] = field(default_factory=lambda: NO_NAMES)
    atria: Image | None = None
    vein_prior: Image | None = None
    csf_probability: Image | None = None
    lesions: Image | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inputs:
    """Maps on the GRE grid, what is known on the T1w grid, and what is external.

    Attributes
    ----------
    chi_ppm
        Susceptibility, shape (x, y, z).
    magnitude
        Combination of the echoes.
    qsm_mask
        Where ``chi_ppm`` was reconstructed.
    r2star_hz
        None for a single echo.
    segmentation
        None if there is no T1w; then a thalamus must be external.
    external
        Masks that replace stages.
    metrics
        Quality measures of earlier stages, by the names in ``quality.LIMITS``.
    method
        How susceptibility was made, for the table.
    backgrounds_ppm
        Susceptibility after other background removals, by their names; zero where not made.
    half_difference_ppm
        Half the difference of the maps of the odd and of the even echoes: noise without the head.
        None where the echoes are too few.
    fluid
        The zero reference of MEDI+0, any value above 0; None where the maps are external or none
        was found.
    phase_known
        Where the echoes follow one frequency, any value above 0; elsewhere susceptibility comes
        from the field of the neighbours alone. None where the maps are external.
    voxels_per_acquired
        How many voxels one acquired voxel was interpolated to; 1 where nothing was.
    """

    chi_ppm: Image
    magnitude: Image
    qsm_mask: Image
    r2star_hz: Image | None = None
    segmentation: Segmentation | None = None
    external: ExternalRegions = field(default_factory=ExternalRegions)
    metrics: Mapping[str, float] = field(default_factory=lambda: NO_METRICS)
    method: str = "n/a"
    backgrounds_ppm: Mapping[str, Image] = field(default_factory=lambda: NO_MAPS)
    half_difference_ppm: Image | None = None
    fluid: Image | None = None
    phase_known: Image | None = None
    voxels_per_acquired: float = 1.0

    @property
    def acquired_edges_mm(self) -> tuple[float, float, float]:
        """Edges of a voxel before interpolation, the shortest first."""
        short, middle, long = sorted(self.chi_ppm.grid.voxel_size_mm)
        # Which axes were interpolated is not known; as a rule it is the two in plane, which are
        # the finer ones.
        in_plane = self.voxels_per_acquired**0.5
        first, second, third = sorted((in_plane * short, in_plane * middle, long))
        return first, second, third

    def __post_init__(self) -> None:
        # Shapes only. That the worlds agree is the caller's part: masks are drawn on the GRE grid,
        # or are resampled to it before they get here.
        for name, image in (
            ("magnitude", self.magnitude),
            ("QSM mask", self.qsm_mask),
            ("R2* map", self.r2star_hz),
            ("external thalamus", self.external.thalamus),
            ("external CSF reference", self.external.reference),
            ("external vein mask", self.external.veins),
            ("map of split echoes", self.half_difference_ppm),
            ("fluid of the echoes", self.fluid),
            ("mask of reliable phase", self.phase_known),
            *((f"map after {name}", image) for name, image in self.backgrounds_ppm.items()),
        ):
            if image is not None and image.shape != self.chi_ppm.shape:
                raise DataError(
                    f"The {name} has shape {image.shape}, but the susceptibility map has "
                    f"{self.chi_ppm.shape}: resample it to the GRE grid."
                )
        if self.segmentation is None and self.external.thalamus is None:
            raise DataError(
                "There is neither a segmentation nor an external thalamus mask to measure in: "
                "add a T1w image or an external mask."
            )
