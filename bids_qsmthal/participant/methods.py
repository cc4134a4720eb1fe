"""What ran for a participant, gathered from the results for the methods text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bids_qsmthal.anatomy import atlas
from bids_qsmthal.bids import external, protocol, t1w
from bids_qsmthal.core.scan_warnings import ThalamusRimKept
from bids_qsmthal.core.sources import OURS, Maker
from bids_qsmthal.participant.morphometry import Method
from bids_qsmthal.report import (
    AnatomyRun,
    AtlasRun,
    ExternalNumbers,
    LesionIronRun,
    MethodsRun,
    RegionsRun,
    ScanRun,
)
from bids_qsmthal.report.methods_run import MagnitudeRun, Uniform

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bids_qsmthal.bids.dataset import Session
    from bids_qsmthal.core.sources import Source
    from bids_qsmthal.participant.atlas_regions import MeasuredAtlas
    from bids_qsmthal.participant.relaxation import MagnitudeResults
    from bids_qsmthal.participant.structural import Structural
    from bids_qsmthal.participant.susceptibility import Susceptibility
    from bids_qsmthal.settings import Settings

LABELS = {
    "deepgray": "deep gray matter",
    "deepgray_gre": "deep gray matter on the gradient echo",
    "tissue": "tissues",
    "nuclei": "thalamic nuclei",
}
"""What the labels of each external file show."""


FOUND_ON_FLAIR = (Maker.OURS, Maker.SEEDS)
"""Makers of lesion masks that need the brain in FLAIR."""


def methods_run(
    settings: Settings,
    structural: Structural,
    susceptibility: Susceptibility | None,
    session: Session | None = None,
    *,
    relaxation: MagnitudeResults | None = None,
) -> MethodsRun:
    """Return what ran; ``session`` says which T1w it was."""
    sources = structural.sources
    enhancement = sources.get("enhancing", OURS) if structural.enhancement is not None else None
    return MethodsRun(
        brains=_brains(
            *(structural, susceptibility or relaxation), on_gre=settings.mask.name == "magnitude"
        ),
        anatomy=_anatomy(structural, session) if structural.prepared is not None else None,
        scans_registered=any(
            (
                structural.flair_to_t1w,
                structural.ce_to_t1w,
                susceptibility is not None and susceptibility.to_t1w,
                relaxation is not None and relaxation.to_t1w,
            )
        ),
        external_labels={what: sources[key] for key, what in LABELS.items() if key in sources},
        external_numbers=_external_numbers(structural),
        lesions=sources.get("lesion", OURS) if structural.lesions is not None else None,
        enhancement=enhancement,
        lesion_iron=_lesion_iron(settings, susceptibility),
        scan=_scan(settings, sources, susceptibility) if susceptibility is not None else None,
        magnitude=None if relaxation is None else _magnitude(settings, sources, relaxation),
        regions=_regions(settings, structural, susceptibility),
    )


def _lesion_iron(settings: Settings, susceptibility: Susceptibility | None) -> LesionIronRun | None:
    if susceptibility is None or susceptibility.lesions is None:
        return None
    return LesionIronRun(
        least_mm=settings.rims.least_mm(susceptibility.combined.grid.voxel_size_mm),
        threshold=settings.rims.threshold,
        rims=susceptibility.lesions.rim_source,
    )


def atlases(measured: Sequence[MeasuredAtlas]) -> tuple[AtlasRun, ...]:
    """Return how each atlas of the user became regions of the participant."""
    return tuple(
        AtlasRun(
            name=one.atlas.name,
            space=one.space,
            in_template=one.atlas.in_template,
            threshold=None if one.atlas.labelled else one.atlas.threshold,
        )
        for one in measured
    )


def _magnitude(
    settings: Settings, sources: Mapping[str, Source], relaxation: MagnitudeResults
) -> MagnitudeRun:
    series = relaxation.signal.series
    return MagnitudeRun(
        acquisition=series.acquisition,
        grid=relaxation.combined.grid,
        relaxation=settings.reconstruction.relaxation,
        r2star=sources.get("r2star", OURS),
        protocol=protocol.read(series),
    )


def _brains(
    structural: Structural, gre: Susceptibility | MagnitudeResults | None, *, on_gre: bool
) -> dict[str, Source]:
    """Return who made each brain mask; that of T1w is carried to the other scans.

    ``on_gre`` says that the gradient echo was given one of its own.
    """
    sources = structural.sources
    brains: dict[str, Source] = {}
    if structural.prepared is not None:
        brains["T1w"] = sources.get("brain", OURS)
    elif structural.flair is not None and sources.get("lesion", OURS).maker in FOUND_ON_FLAIR:
        brains["FLAIR"] = OURS
    if gre is not None and (structural.prepared is None or on_gre or "brain_gre" in sources):
        brains["gradient echo"] = sources.get("brain_gre", OURS)
    return brains


def _anatomy(structural: Structural, session: Session | None) -> AnatomyRun:
    sources, lesions = structural.sources, structural.lesions
    return AnatomyRun(
        atlas=atlas.SPACE,
        # Tissues are classified unless both kinds of labels are external.
        classified=not {"tissue", "deepgray"} <= set(sources),
        lesions_filled=lesions is not None and lesions.count > 0,
        thalamus_refined="deepgray" not in sources,
        thickness=structural.thickness_mm is not None,
        uniform=_uniform(session),
        session="" if session is None else session.t1w_session or "",
    )


def _uniform(session: Session | None) -> Uniform | None:
    if session is None or session.t1w is None or not t1w.is_uniform(session.t1w):
        return None
    return Uniform.DENOISED if session.inversions else Uniform.AS_IT_IS


def _external_numbers(structural: Structural) -> ExternalNumbers | None:
    if external.NUMBERS not in structural.sources:
        return None
    by_program = (Method.EXTERNAL, Method.EXTERNAL_BY_AREA)
    return ExternalNumbers(
        source=structural.sources[external.NUMBERS],
        thickness=any(
            number.measure == "thickness_mean" and number.method in by_program
            for number in structural.numbers
        ),
    )


def _scan(
    settings: Settings, sources: Mapping[str, Source], susceptibility: Susceptibility
) -> ScanRun:
    maps, signal = susceptibility.maps, susceptibility.signal
    apart = susceptibility.separated
    return ScanRun(
        acquisition=signal.series.acquisition,
        grid=susceptibility.combined.grid,
        phase=signal.report,
        scale=signal.scale,
        reconstruction=settings.reconstruction,
        offset=maps.offset,
        csf_held=bool(maps.csf_mask.any()),
        mask=settings.mask,
        chi=sources.get("chi", OURS),
        r2star=sources.get("r2star", OURS),
        total_field=sources.get("total_field", OURS),
        protocol=protocol.read(signal.series),
        separation=None if apart is None else settings.separation,
        r2=None if apart is None else apart.r2,
    )


def _regions(
    settings: Settings, structural: Structural, susceptibility: Susceptibility | None
) -> RegionsRun | None:
    if susceptibility is None or susceptibility.regions is None:
        return None
    regions, sources = susceptibility.regions, structural.sources
    rule, lesions = settings.regions.thalamus, bool(regions.masks["lesions"].data.any())
    return RegionsRun(
        reference=regions.reference,
        first_choice=settings.regions.reference.region,
        thalamus=sources.get("thalamus", OURS),
        veins=sources.get("vein", OURS),
        reference_mask=sources.get("csf_reference", OURS),
        # The result has no field for it; its warning, a value, says the same.
        rim_removed=rule.remove_rim and ThalamusRimKept() not in regions.warnings,
        lesions_removed=rule.exclude_lesions and lesions,
        rim_kept=not rule.remove_rim,
        lesions_kept=not rule.exclude_lesions,
        large_veins_only=settings.regions.veins.large_only,
    )
