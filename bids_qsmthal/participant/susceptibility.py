"""The gradient echo: from the signal to susceptibility, and to the numbers of the thalamus."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from bids_qsmthal import anatomy, qsm, roi
from bids_qsmthal.anatomy import atlas
from bids_qsmthal.bids import external, gre_series
from bids_qsmthal.core import nifti
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.image import Affine, Image, resample
from bids_qsmthal.participant import external_labels, gre_signal
from bids_qsmthal.participant.structural import rigid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bids_qsmthal.anatomy import Rigid
    from bids_qsmthal.bids.dataset import Session
    from bids_qsmthal.bids.external import ExternalFile
    from bids_qsmthal.participant.gre_signal import Signal
    from bids_qsmthal.participant.stages import Stages
    from bids_qsmthal.participant.structural import Structural
    from bids_qsmthal.settings import Settings

STAGES = 5
"""How many stages this part has, whether they run or are left out."""

OUR_CHI = "QSM"
"""Method of numbers from susceptibility that was not brought."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Susceptibility:
    """What came out of one gradient-echo scan.

    Attributes
    ----------
    combined
        Root sum of squares of the echoes.
    brain
        The mask that was handed to the reconstruction.
    to_t1w
        ``None`` without T1w.
    regions
        ``None`` where nothing says where the thalamus is.
    nuclei_names
        What the numbers of thalamic nuclei mean.
    """

    signal: Signal
    combined: Image
    brain: Image
    maps: qsm.Maps
    to_t1w: Rigid | None
    regions: roi.RegionResults | None
    nuclei_names: Mapping[int, str] = field(default_factory=dict)

    @property
    def gre_to_t1w(self) -> Affine:
        """A point of the gradient echo's world in the world of the segmentation."""
        return np.eye(4) if self.to_t1w is None else self.to_t1w.matrix

    def image(self, data: np.ndarray) -> Image:
        """Put data of the reconstruction on their grid."""
        return self.combined.like(data)


def find(
    session: Session,
    settings: Settings,
    stages: Stages,
    external_files: Mapping[str, ExternalFile],
    head: Structural,
) -> Susceptibility | None:
    """Reconstruct the gradient echo and measure the thalami in it."""
    if session.gre is None:
        stages.skip("susceptibility and the thalami", "there is no gradient echo", count=STAGES)
        return None
    scan = gre_signal.read(gre_series.describe(session.gre, session.root), settings)
    combined = scan.combined
    to_t1w = _to_t1w(combined, head, settings, stages)
    matrix = np.eye(4) if to_t1w is None else to_t1w.matrix
    brain = _brain(combined, head, matrix, stages, external_files)
    maps = stages.run(
        "field, background, susceptibility",
        qsm.reconstruct,
        scan.magnitude.data,
        scan.phase_rad.data,
        brain.data,
        combined.grid,
        scan.series.acquisition,
        settings=settings.reconstruction,
    )
    maps = _with_brought(maps, combined, external_files)
    metrics = maps.quality | _motion(scan, brain) | (to_t1w.quality if to_t1w else {})
    segmentation = _segmentation(head, matrix, external_files)
    inputs = _inputs(maps, combined, segmentation, metrics, external_files)
    regions = None
    if inputs is None:
        reason = "there is no T1w and no segmentation was brought"
        stages.skip("other backgrounds, split echoes", reason)
        stages.skip("thalamus, veins, reference", reason)
    else:
        inputs = _with_variants(inputs, scan, brain, settings, stages, external_files)
        regions = stages.run(
            "thalamus, veins, reference", roi.measure, inputs, settings=settings.regions
        )
    return Susceptibility(
        signal=scan,
        combined=combined,
        brain=brain,
        maps=maps,
        to_t1w=to_t1w,
        regions=regions,
        nuclei_names=segmentation.nuclei_names if segmentation else {},
    )


def _to_t1w(combined: Image, head: Structural, settings: Settings, stages: Stages) -> Rigid | None:
    if head.prepared is None:
        stages.skip("gradient echo to T1w", "there is no T1w")
        return None
    return rigid("gradient echo to T1w", head.prepared, combined, settings, stages)


def _brain(
    combined: Image,
    head: Structural,
    matrix: Affine,
    stages: Stages,
    external_files: Mapping[str, ExternalFile],
) -> Image:
    """Return the brain on the grid of the gradient echo: brought, carried over, or found in it."""
    if "brain_gre" in external_files:
        stages.skip(
            "brain in the gradient echo", f"brought by {external_files['brain_gre'].source}"
        )
        found = resample(external.load(external_files["brain_gre"]), combined, order=0)
    elif head.prepared is not None:
        stages.skip("brain in the gradient echo", "carried over from T1w")
        mask = head.prepared.brain.like(head.prepared.brain.data.astype(np.float32))
        carried = resample(mask, combined, world=matrix)
        found = carried.like(carried.data > 0.5)
    else:
        found = stages.run("brain in the gradient echo", anatomy.brain_mask, combined)
    inside = found.data > 0
    if not inside.any():
        raise DataError(
            "The brain mask is empty on the grid of the gradient echo; check that both scans show "
            "the same head, or bring a mask with --derivatives."
        )
    return found.like(inside)


def _motion(scan: Signal, brain: Image) -> dict[str, float]:
    """Return the sign of motion, where there is air to see it in."""
    ghost = qsm.ghost_to_signal(scan.magnitude.data[..., 0], brain.data, brain.grid)
    return {} if ghost is None else {"ghost": ghost}


def _with_brought(
    maps: qsm.Maps, grid: Image, external_files: Mapping[str, ExternalFile]
) -> qsm.Maps:
    """Put maps that were brought in the places of ours."""
    if "chi" in external_files:
        maps = replace(maps, chi_ppm=resample(nifti.load(external_files["chi"].path), grid).data)
    if "r2star" in external_files:
        maps = replace(
            maps, r2star_hz=resample(nifti.load(external_files["r2star"].path), grid).data
        )
    return maps


def _inputs(
    maps: qsm.Maps,
    grid: Image,
    segmentation: roi.Segmentation | None,
    metrics: Mapping[str, float],
    external_files: Mapping[str, ExternalFile],
) -> roi.Inputs | None:
    """Gather what the regions are measured from; ``None`` where no thalamus can be known."""
    external = roi.ExternalRegions(
        thalamus=_on(grid, "thalamus", external_files),
        reference=_on(grid, "csf_reference", external_files),
        veins=_on(grid, "vein", external_files),
    )
    if segmentation is None and external.thalamus is None:
        return None
    return roi.Inputs(
        chi_ppm=grid.like(maps.chi_ppm),
        magnitude=grid,
        qsm_mask=grid.like(maps.mask),
        r2star_hz=grid.like(maps.r2star_hz) if maps.r2star_hz.any() else None,
        segmentation=segmentation,
        external=external,
        metrics=dict(metrics),
        method=str(external_files["chi"].source) if "chi" in external_files else OUR_CHI,
    )


def _with_variants(
    inputs: roi.Inputs,
    scan: Signal,
    brain: Image,
    settings: Settings,
    stages: Stages,
    external_files: Mapping[str, ExternalFile],
) -> roi.Inputs:
    """Add what the same scan gives when it is reconstructed otherwise."""
    title = "other backgrounds, split echoes"
    if "chi" in external_files:
        stages.skip(title, f"susceptibility was brought by {inputs.method}")
        return inputs
    made = stages.run(
        title,
        qsm.variants,
        scan.magnitude.data,
        scan.phase_rad.data,
        brain.data,
        inputs.chi_ppm.grid,
        scan.series.acquisition,
        settings=settings.reconstruction,
    )
    like, half = inputs.chi_ppm.like, made.half_difference_ppm
    return replace(
        inputs,
        backgrounds_ppm={name: like(chi_ppm) for name, chi_ppm in made.backgrounds.items()},
        half_difference_ppm=None if half is None else like(half),
    )


def _segmentation(
    head: Structural, matrix: Affine, external_files: Mapping[str, ExternalFile]
) -> roi.Segmentation | None:
    """Return the labels of T1w, or those that were brought for the gradient echo."""
    if "deepgray_gre" in external_files:
        labels = external.load(external_files["deepgray_gre"])
        return roi.Segmentation(deepgray=labels, gre_to_t1w=np.eye(4), names={}, nuclei_names={})
    if head.anatomy is None:
        return _labels_alone(head, external_files)
    found = head.anatomy
    return roi.Segmentation(
        deepgray=found.deepgray,
        gre_to_t1w=matrix,
        names=atlas.names("desc-deepgray_dseg"),
        thalamus_probability=found.thalamus_probability,
        nuclei=found.nuclei,
        nuclei_names=found.nuclei_names,
        atria=found.atria,
        vein_prior=found.vein_prior,
        csf_probability=found.csf,
        lesions=head.lesion_mask,
    )


def _labels_alone(
    head: Structural, external_files: Mapping[str, ExternalFile]
) -> roi.Segmentation | None:
    """Return labels that were brought where there is no T1w: their world is that of the echoes."""
    if "deepgray" not in external_files:
        return None
    nuclei = external_files.get("nuclei")
    return roi.Segmentation(
        deepgray=external.load(external_files["deepgray"]),
        gre_to_t1w=np.eye(4),
        nuclei=external.load(nuclei) if nuclei else None,
        nuclei_names=external_labels.names_of_nuclei(nuclei) if nuclei else {},
        lesions=head.lesion_mask,
    )


def _on(grid: Image, key: str, external_files: Mapping[str, ExternalFile]) -> Image | None:
    """Load a label image that was brought onto the grid of the gradient echo."""
    if key not in external_files:
        return None
    return resample(external.load(external_files[key]), grid, order=0)
