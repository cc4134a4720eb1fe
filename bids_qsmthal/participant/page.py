"""What a participant's report shows, gathered from the results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bids_qsmthal import __version__, report
from bids_qsmthal.anatomy import atlas
from bids_qsmthal.bids.derivatives import package_versions
from bids_qsmthal.choices import name_of
from bids_qsmthal.core.decision import Decision
from bids_qsmthal.core.image import Image
from bids_qsmthal.core.labels import LATERAL_VENTRICLE
from bids_qsmthal.core.scan_warnings import NoGradientEcho, ScanWarning, ThalamusUnknown
from bids_qsmthal.core.sources import OURS, Maker, ProgramName, Source
from bids_qsmthal.participant import quality, radiology
from bids_qsmthal.report import sentences
from bids_qsmthal.roi import ReferenceRegion

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd
    from numpy.typing import NDArray

    from bids_qsmthal.anatomy import Rigid
    from bids_qsmthal.bids.dataset import Session
    from bids_qsmthal.participant.structural import Structural
    from bids_qsmthal.participant.susceptibility import Susceptibility
    from bids_qsmthal.settings import Settings


REFERENCE_SENTENCES = {
    ReferenceRegion.ATRIA: "atria",
    ReferenceRegion.VENTRICLES: "ventricles",
    ReferenceRegion.GLOBAL_CSF: "csf",
    ReferenceRegion.BRAIN: "brain",
    ReferenceRegion.EXTERNAL: "external",
}
"""The sentence of the methods text for each region of the reference."""


def contents(
    session: Session,
    settings: Settings,
    structural: Structural,
    susceptibility: Susceptibility | None,
    table: pd.DataFrame,
) -> report.ParticipantReport:
    """Gather what the page shows."""
    regions = susceptibility.regions if susceptibility else None
    name = dict(session.entities)
    return report.ParticipantReport(
        participant_id=f"sub-{name['sub']}",
        session_id=f"ses-{session.session}" if session.session else "",
        run_id=f"run-{session.run}" if session.run else "",
        gre_name="_".join(f"{key}-{value}" for key, value in session.gre_entities),
        verdict=_verdict(structural, susceptibility),
        measures=table,
        quality=quality.checks(structural, susceptibility),
        sensitivity=regions.sensitivity if regions else None,
        samples_ppb=_samples(susceptibility),
        gre=_gre(susceptibility),
        regions=_regions(susceptibility),
        anatomy=_anatomy(structural),
        lesions=report.LesionMaps(
            flair=_in_t1w_world(structural.flair, structural.flair_to_t1w) or structural.flair,
            lesions=structural.lesion_mask,
            t1w=structural.t1w,
            ce_t1w=_in_t1w_world(structural.ce_t1w, structural.ce_to_t1w),
            enhancing=structural.enhancement.mask if structural.enhancement else None,
        ),
        registrations=tuple(_registrations(structural, susceptibility)),
        warnings=tuple(
            sentences.notice(warning)
            for warning in (
                *radiology.disagreement(session, structural.enhancement),
                *structural.warnings,
                *_susceptibility_warnings(session, susceptibility),
            )
        ),
        ran=ran(settings, structural, susceptibility),
        versions={"bids_qsmthal": __version__, **package_versions()},
        sources={key: str(source) for key, source in structural.sources.items()},
        command=settings.shown_command,
        links=(("Group", "group/group.html"),) if "group" in settings.levels else (),
    )


def _verdict(
    structural: Structural, susceptibility: Susceptibility | None
) -> report.Verdict | None:
    checks = quality.check_rows(structural, susceptibility)
    if not checks:
        return None
    reasons = [check.reason for check in checks if check.decision is not Decision.INCLUDE]
    return report.Verdict(quality.decision(structural, susceptibility), tuple(reasons))


def _samples(susceptibility: Susceptibility | None) -> dict[str, NDArray[np.floating]]:
    if susceptibility is None or susceptibility.regions is None:
        return {}
    masks, chi_ppb = susceptibility.regions.masks, 1000 * susceptibility.maps.chi_ppm
    return {
        "left thalamus": chi_ppb[masks["thalamus"].data == 1],
        "right thalamus": chi_ppb[masks["thalamus"].data == 2],
        "CSF reference": chi_ppb[masks["reference"].data > 0],
    }


def _gre(susceptibility: Susceptibility | None) -> report.GreMaps:
    if susceptibility is None:
        return report.GreMaps()
    maps, image = susceptibility.maps, susceptibility.image
    return report.GreMaps(
        magnitude=susceptibility.signal.magnitude,
        phase_rad=susceptibility.signal.phase_rad,
        echo_times_s=susceptibility.signal.series.acquisition.echo_times_s,
        brain=susceptibility.brain,
        qsm_mask=image(maps.mask),
        total_field_hz=image(maps.total_field_hz),
        local_field_hz=image(maps.local_field_hz),
        chi_ppm=image(maps.chi_ppm),
        r2star_per_s=image(maps.r2star_hz) if maps.r2star_hz.any() else None,
    )


def _regions(susceptibility: Susceptibility | None) -> report.RegionMasks:
    if susceptibility is None or susceptibility.regions is None:
        return report.RegionMasks()
    masks = susceptibility.regions.masks
    return report.RegionMasks(
        thalamus=masks["thalamus"],
        thalamus_label=masks["thalamus_labelled"],
        veins=masks["veins"],
        csf_reference=masks["reference"],
        lesions=masks.get("lesions"),
    )


def _anatomy(structural: Structural) -> report.AnatomyMaps:
    anatomy = structural.anatomy
    if anatomy is None:
        return report.AnatomyMaps()
    return report.AnatomyMaps(
        t1w=anatomy.t1w,
        brain=anatomy.brain,
        tissue=anatomy.tissue,
        deep_gray=anatomy.deepgray,
        deep_gray_names=atlas.names("desc-deepgray_dseg"),
        nuclei=anatomy.nuclei,
        nuclei_names=anatomy.nuclei_names,
        thickness_mm=structural.thickness_mm,
    )


def _in_t1w_world(image: Image | None, rigid: Rigid | None) -> Image | None:
    """Put a scan into the world of T1w: its header moves, no voxel is resampled."""
    if image is None or rigid is None:
        return None
    return Image(image.data, rigid.matrix @ image.affine)


def _registrations(
    structural: Structural, susceptibility: Susceptibility | None
) -> Iterable[report.Registration]:
    if structural.prepared is None:
        return
    moving = [
        ("FLAIR to T1w", structural.flair, structural.flair_to_t1w),
        ("post-contrast T1w to T1w", structural.ce_t1w, structural.ce_to_t1w),
    ]
    if susceptibility is not None:
        moving.append(("MEGRE to T1w", susceptibility.combined, susceptibility.to_t1w))
    labels = structural.prepared.labels
    ventricles = labels.like(np.isin(labels.data, LATERAL_VENTRICLE).astype(np.uint8))
    outlines = {"brain": structural.prepared.brain, "ventricles": ventricles}
    for name, image, rigid in moving:
        if image is not None and rigid is not None:
            yield report.Registration(
                name=name,
                fixed=structural.prepared.t1w,
                moving=image,
                matrix=rigid.matrix,
                outlines=outlines,
                quality=rigid.quality,
            )


def _susceptibility_warnings(
    session: Session, susceptibility: Susceptibility | None
) -> list[ScanWarning]:
    if susceptibility is None:
        return [NoGradientEcho()] if session.gre is None else []
    registration, contradiction = susceptibility.to_t1w, susceptibility.signal.report.contradiction
    warnings = [*susceptibility.maps.warnings, *(registration.warnings if registration else ())]
    if contradiction:
        warnings.append(contradiction)
    if susceptibility.regions is None:
        return [*warnings, ThalamusUnknown()]
    return [*warnings, *susceptibility.regions.warnings]


def ran(
    settings: Settings, structural: Structural, susceptibility: Susceptibility | None
) -> dict[str, str]:
    """Name the method of each step that ran, in the words of the methods text."""
    steps = {"app": __version__}
    if structural.prepared is not None:
        steps |= {
            "bias_field": "n4",
            "brain": str(structural.sources.get("brain", "deepbet")),
            "registration": "ants",
            "atlas": atlas.SPACE,
            "thickness": "distance",
            "tissue": "mixture",
        }
        if structural.lesion_mask is not None:
            steps["lesion_filling"] = "yes"
    steps = _without_replaced(steps, structural) | _external_anatomy(structural)
    if structural.lesion_mask is not None:
        steps |= _lesion_step(structural.sources.get("lesion", OURS))
    if structural.enhancement is not None:
        steps["enhancement"] = str(structural.sources.get("enhancing", "subtraction"))
    if susceptibility is not None:
        steps |= _qsm_ran(settings, structural, susceptibility)
    return steps


def _lesion_step(source: Source) -> dict[str, str]:
    """Name who made the lesion mask."""
    if source.maker is Maker.OURS:
        return {"lesions": "corrected" if source.corrected else "outlier"}
    if source.maker is Maker.READER:
        return {"lesions": "manual"}
    if source.maker is Maker.SEEDS:
        return {"lesions": "seeds"}
    if source.program is not None and source.program.name is ProgramName.LST_AI:
        return {"lesions": "lst_ai"}
    return {"lesions": str(source)}


def _without_replaced(steps: dict[str, str], structural: Structural) -> dict[str, str]:
    """Leave out the steps whose results are external."""
    unused = set()
    if {"tissue", "deepgray"} <= set(structural.sources):
        unused.add("tissue")
    if structural.thickness_mm is None:
        unused.add("thickness")
    return {step: method for step, method in steps.items() if step not in unused}


def _external_anatomy(structural: Structural) -> dict[str, str]:
    """Name whose labels and tables took the place of ours."""
    keys = ("numbers", "deepgray", "deepgray_gre", "tissue", "nuclei")
    source = next((structural.sources[key] for key in keys if key in structural.sources), None)
    if source is None:
        return {}
    labels = {"labels": "external"} if "deepgray" in structural.sources else {}
    if source.program is None:
        return {"anatomy_source": str(source), **labels}
    return {
        "anatomy_source": source.program.name.lower(),
        "anatomy_program": source.program.description,
        "anatomy_dataset": source.dataset,
        **labels,
    }


def _inversion(method: object) -> str:
    """Name the inversion; MEDI that keeps CSF uniform is MEDI+0."""
    name = name_of(method)
    return "medi0" if name == "medi" and getattr(method, "csf_regularisation", 0) > 0 else name


def _qsm_ran(
    settings: Settings, structural: Structural, susceptibility: Susceptibility
) -> dict[str, str]:
    chosen, acquisition = settings.reconstruction, susceptibility.signal.series.acquisition
    times_ms = [1000 * time for time in acquisition.echo_times_s]
    steps = {
        "echoes": str(len(times_ms)),
        "echo_times_ms": f"{times_ms[0]:.3g} to {times_ms[-1]:.3g}",
        "field_strength_t": f"{acquisition.field_strength_t:g}",
        "voxel_size_mm": " x ".join(
            f"{size:.3g}" for size in susceptibility.combined.grid.voxel_size_mm
        ),
        "unwrapping": name_of(chosen.fitting.unwrapping),
        "field_fit": "nonlinear",
        "relaxation": name_of(chosen.relaxation),
        "background": name_of(chosen.background),
        "inversion": _inversion(chosen.inversion),
        "phase_offset": "polynomial",
    }
    if susceptibility.signal.report.chopped:
        steps["phase_correction"] = "every other slice was negated"
    if "chi" in structural.sources:
        steps["qsm_source"] = str(structural.sources["chi"])
    if susceptibility.regions is not None:
        steps |= {
            "thalamus": "yes",
            "csf_reference": REFERENCE_SENTENCES[susceptibility.regions.reference.region],
            "wanted_reference": REFERENCE_SENTENCES[settings.regions.reference.region],
            "relative_susceptibility": "yes",
        }
    return steps
