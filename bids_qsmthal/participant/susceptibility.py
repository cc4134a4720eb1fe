"""The gradient echo: from the signal to susceptibility, and to the numbers of the thalamus."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from bids_qsmthal import anatomy, qsm, roi
from bids_qsmthal.anatomy import atlas
from bids_qsmthal.bids import protocol
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.image import Affine, Image, resample
from bids_qsmthal.participant import external_labels, given_field
from bids_qsmthal.participant.lesion_iron import MeasuredLesions, measured_lesions
from bids_qsmthal.participant.pipeline import (
    BRAIN_IN_GRE,
    GRE_TO_T1W,
    PHASE_MASK,
    REGIONS,
    SUSCEPTIBILITY,
    VARIANTS,
)
from bids_qsmthal.participant.separated import (
    Separated,
    SourceScan,
    separate,
    white_matter,
)
from bids_qsmthal.participant.structural import registered
from bids_qsmthal.qsm.field import GivenField

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from bids_qsmthal.anatomy import Rigid
    from bids_qsmthal.bids.external import External
    from bids_qsmthal.participant.gre_signal import Signal
    from bids_qsmthal.participant.input_checks import LoadedInputs
    from bids_qsmthal.participant.runner import Runner
    from bids_qsmthal.participant.structural import Structural
    from bids_qsmthal.qsm import MaskChoice
    from bids_qsmthal.settings import Settings

OUR_CHI = "QSM"
"""Method of numbers from our own susceptibility."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Susceptibility:
    """What came out of one gradient-echo scan.

    Attributes
    ----------
    combined
        Root sum of squares of the echoes.
    brain
        Of the gradient echo; the reconstruction is given it, or the part whose phase is reliable.
    to_t1w
        ``None`` without T1w.
    regions
        ``None`` where nothing says where the thalamus is.
    nuclei_names, small_nuclei_names
        What the numbers of thalamic and of small nuclei mean.
    lesions
        Iron in each lesion; ``None`` without T1w, or without lesions.
    separated
        Sources of both signs, where they were asked for.
    """

    signal: Signal
    combined: Image
    brain: Image
    maps: qsm.Maps
    to_t1w: Rigid | None
    regions: roi.RegionResults | None
    nuclei_names: Mapping[int, str] = field(default_factory=dict)
    small_nuclei_names: Mapping[int, str] = field(default_factory=dict)
    lesions: MeasuredLesions | None = None
    separated: Separated | None = None

    @property
    def gre_to_t1w(self) -> Affine:
        """A point of the gradient echo's world in the world of the segmentation."""
        return np.eye(4) if self.to_t1w is None else self.to_t1w.matrix

    def image(self, data: np.ndarray) -> Image:
        """Put data of the reconstruction on their grid."""
        return self.combined.like(data)


def susceptibility_results(
    inputs: LoadedInputs, settings: Settings, runner: Runner, structural: Structural
) -> Susceptibility | None:
    """Return what the gradient echo gives, the numbers of the thalami included.

    ``None`` where there is none, and where it has magnitude alone and nobody gave a total field
    (``relaxation_results``).
    """
    if inputs.signal is None or not runner.runs(SUSCEPTIBILITY):
        return None
    # Read back once: each access reads the whole scan from the disk again.
    external = inputs.external
    signal = given_field.with_phase(inputs.signal.loaded, external)
    if signal is None:
        return None
    combined = signal.combined
    to_t1w = (
        registered(GRE_TO_T1W, structural.prepared, combined, settings, runner)
        if structural.prepared
        else None
    )
    gre_to_t1w = to_t1w.matrix if to_t1w else np.eye(4)
    where = settings.mask
    brain = brain_of(
        *(combined, structural, gre_to_t1w, runner, external), required=where.name != "phase"
    )
    brain, handed = _reliable(signal, brain, where, runner)
    fluid = _fluid_probability(combined, structural, to_t1w)
    settings, measured_in = given_field.with_field(settings, signal, handed, external)
    maps = runner.run(
        SUSCEPTIBILITY,
        qsm.reconstruct,
        signal.magnitude.data,
        signal.phase_rad.data,
        measured_in.data,
        combined.grid,
        signal.series.acquisition,
        settings=settings.reconstruction,
        fluid_probability=fluid,
    )
    maps = _with_external_maps(_judged_by_brain(maps, brain, handed), combined, external)
    # One namespace: roi.LIMITS looks measures up by their names, whoever took them.
    metrics = maps.quality | _motion(signal, brain) | (to_t1w.quality if to_t1w else {})
    segmentation = _segmentation(structural, gre_to_t1w, external)
    regions = None
    if runner.runs(REGIONS):
        measured = _region_inputs(
            *(maps, combined, segmentation, metrics, external),
            protocol.voxels_per_acquired(signal.series, combined.grid),
        )
        # After an external map nothing is varied: other backgrounds would be those of another
        # method.
        if runner.runs(VARIANTS):
            measured = _with_variants(measured, signal, maps, settings, runner)
        regions = runner.run(REGIONS, roi.measure, measured, settings=settings.regions)
    lesions = measured_lesions(
        *(structural, maps, regions, gre_to_t1w),
        acquisition=signal.series.acquisition,
        settings=settings,
        runner=runner,
        external=external,
    )
    names = segmentation.nuclei_names if segmentation else {}
    small_names = segmentation.small_nuclei_names if segmentation else {}
    scan = SourceScan(
        grid=combined,
        series=signal.series,
        external=external,
        nuclei_names=names,
        white=white_matter(combined, structural.anatomy, to_t1w),
    )
    separated = separate(maps, regions, scan, settings=settings, runner=runner)
    return Susceptibility(
        signal=signal,
        combined=combined,
        brain=brain,
        maps=maps,
        to_t1w=to_t1w,
        regions=regions,
        nuclei_names=names,
        small_nuclei_names=small_names,
        lesions=lesions,
        separated=separated,
    )


def brain_of(
    combined: Image,
    structural: Structural,
    gre_to_t1w: Affine,
    runner: Runner,
    external: Mapping[str, External],
    *,
    required: bool = True,
) -> Image:
    """Return the brain on the grid of the gradient echo: external, carried over, or found in it.

    Raises
    ------
    DataError
        It is ``required``, and empty.
    """
    given = external_labels.mask("brain_gre", external, combined)
    if given is not None:
        brain = given
    elif structural.prepared is not None and not runner.runs(BRAIN_IN_GRE):
        on_t1w = structural.prepared.brain
        fraction = on_t1w.like(on_t1w.data.astype(np.float32))
        carried = resample(fraction, combined, world=gre_to_t1w)
        # Half of a voxel: that keeps the volume of the mask.
        brain = carried.like(carried.data > 0.5)
    else:
        brain = runner.run(BRAIN_IN_GRE, anatomy.brain_mask, combined)
    inside = brain.data > 0
    if required and not inside.any():
        raise DataError(
            "The brain mask is empty on the grid of the gradient echo; check that both scans show "
            "the same head, or give a mask with --derivatives."
        )
    return brain.like(inside)


def _reliable(
    signal: Signal, brain: Image, choice: MaskChoice, runner: Runner
) -> tuple[Image, Image]:
    """Return the brain, and the mask that the reconstruction is given."""
    if not runner.runs(PHASE_MASK):
        return brain, brain
    reliable = runner.run(
        PHASE_MASK,
        qsm.reliable_mask,
        signal.magnitude,
        signal.phase_rad,
        None if choice.name == "phase" else brain,
        choice.reliable,
    )
    # In a phantom no network finds a brain: the rest of the chain then looks at all of it.
    return (brain if brain.data.any() else reliable), reliable


def _judged_by_brain(maps: qsm.Maps, brain: Image, handed: Image) -> qsm.Maps:
    """Return maps whose share of lost mask counts what the mask by phase left out of the brain."""
    if handed is brain:
        return maps
    lost = float((brain.data & ~maps.mask).sum()) / float(brain.data.sum())
    return replace(maps, quality=maps.quality | {"mask_lost_fraction": lost})


def _fluid_probability(
    combined: Image, structural: Structural, to_t1w: Rigid | None
) -> NDArray[np.float32] | None:
    """Return how likely each voxel is fluid by T1w; ``None`` where that is not known."""
    # After a registration that failed, T1w would call tissue fluid.
    if structural.anatomy is None or to_t1w is None or to_t1w.failed:
        return None
    carried: NDArray[np.float32] = resample(
        structural.anatomy.csf, combined, world=to_t1w.matrix
    ).data
    return carried


def _motion(signal: Signal, brain: Image) -> dict[str, float]:
    """Return the sign of motion, where there is air to see it in."""
    # The first echo, which has lost least signal.
    ghost = qsm.ghost_to_signal(signal.magnitude.data[..., 0], brain.data, brain.grid)
    return {} if ghost is None else {"ghost": ghost}


def _with_external_maps(maps: qsm.Maps, grid: Image, external: Mapping[str, External]) -> qsm.Maps:
    """Put external maps in the places of ours."""
    given = {key: external[key].image for key in ("chi", "r2star") if key in external}
    if "chi" in given:
        chi = resample(given["chi"], grid).data
        # Other programs write zero where they made nothing: no value, and no neighbour of one.
        inside = ndimage.binary_fill_holes(given["chi"].data != 0).astype(np.float32)
        made = resample(given["chi"].like(inside), grid).data > 0.999
        maps = replace(maps, chi_ppm=np.where(made, chi, 0), mask=maps.mask & made)
    if "r2star" in given:
        maps = replace(maps, r2star_hz=resample(given["r2star"], grid).data)
    return maps


def _region_inputs(
    maps: qsm.Maps,
    grid: Image,
    segmentation: roi.Segmentation | None,
    metrics: Mapping[str, float],
    external: Mapping[str, External],
    voxels_per_acquired: float,
) -> roi.Inputs:
    """Gather what the regions are measured from."""
    external_map = "chi" in external or "r2star" in external
    return roi.Inputs(
        chi_ppm=grid.like(maps.chi_ppm),
        magnitude=grid,
        qsm_mask=grid.like(maps.mask),
        r2star_hz=grid.like(maps.r2star_hz) if maps.r2star_hz.any() else None,
        segmentation=segmentation,
        external=roi.ExternalRegions(
            thalamus=external_labels.on("thalamus", external, grid),
            reference=external_labels.on("csf_reference", external, grid),
            veins=external_labels.on("vein", external, grid),
        ),
        metrics=dict(metrics),
        method=str(external["chi"].source) if "chi" in external else OUR_CHI,
        # An external map says itself where its signal decays slowly.
        voxels_per_acquired=voxels_per_acquired,
        phase_known=None if external_map else grid.like(np.isfinite(maps.noise_ppm)),
        fluid=None if external_map or not maps.csf_mask.any() else grid.like(maps.csf_mask),
    )


def _with_variants(
    inputs: roi.Inputs,
    signal: Signal,
    maps: qsm.Maps,
    settings: Settings,
    runner: Runner,
) -> roi.Inputs:
    """Add what the same scan gives when it is reconstructed otherwise."""
    made = runner.run(
        VARIANTS,
        qsm.variants,
        signal.magnitude.data,
        signal.phase_rad.data,
        maps,
        inputs.chi_ppm.grid,
        signal.series.acquisition,
        settings=settings.reconstruction,
    )
    # A given field has no halves: its noise is not seen in odd and even echoes.
    given = isinstance(settings.reconstruction.fitting, GivenField)
    like, half = inputs.chi_ppm.like, None if given else made.half_difference_ppm
    return replace(
        inputs,
        backgrounds_ppm={name: like(chi_ppm) for name, chi_ppm in made.backgrounds.items()},
        half_difference_ppm=None if half is None else like(half),
    )


def _segmentation(
    structural: Structural, gre_to_t1w: Affine, external: Mapping[str, External]
) -> roi.Segmentation | None:
    """Return the labels of T1w, or external ones of the gradient echo."""
    if "deepgray_gre" in external:
        labels = external["deepgray_gre"].image
        # They were drawn on the gradient echo itself: nothing is carried over.
        return roi.Segmentation(deepgray=labels, gre_to_t1w=np.eye(4), names={}, nuclei_names={})
    if structural.anatomy is None:
        return _labels_alone(structural, external)
    segmented = structural.anatomy
    return roi.Segmentation(
        deepgray=segmented.deepgray,
        gre_to_t1w=gre_to_t1w,
        names=atlas.names("desc-deepgray_dseg"),
        thalamus_probability=segmented.thalamus_probability,
        nuclei=segmented.nuclei,
        nuclei_names=segmented.nuclei_names,
        small_nuclei=segmented.small_nuclei,
        small_nuclei_names=segmented.small_nuclei_names,
        atria=segmented.atria,
        vein_prior=segmented.vein_prior,
        csf_probability=segmented.csf,
        lesions=structural.lesion_mask,
    )


def _labels_alone(
    structural: Structural, external: Mapping[str, External]
) -> roi.Segmentation | None:
    """Return external labels where there is no T1w: their world is that of the echoes."""
    if "deepgray" not in external:
        return None
    nuclei = external.get("nuclei")
    return roi.Segmentation(
        deepgray=external["deepgray"].image,
        gre_to_t1w=np.eye(4),
        nuclei=nuclei.image if nuclei else None,
        nuclei_names=external_labels.names_of_nuclei(nuclei.file) if nuclei else {},
        lesions=structural.lesion_mask,
    )
