"""What a participant's report shows, gathered from the results."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from bids_qsmthal import __version__, report
from bids_qsmthal.anatomy import atlas
from bids_qsmthal.bids.derivatives import package_versions
from bids_qsmthal.bids.external import EDITED
from bids_qsmthal.choices import name_of
from bids_qsmthal.core.image import Image
from bids_qsmthal.core.labels import LATERAL_VENTRICLE
from bids_qsmthal.participant import advice, quality, radiology
from bids_qsmthal.participant.lesion_mask import CORRECTED, SEEDED

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd
    from numpy.typing import NDArray

    from bids_qsmthal.anatomy import Rigid
    from bids_qsmthal.bids.dataset import Session
    from bids_qsmthal.participant.structural import Structural
    from bids_qsmthal.participant.susceptibility import Susceptibility
    from bids_qsmthal.report.page import Decision
    from bids_qsmthal.settings import Settings


REFERENCE_WORDS = {
    "atria": "atria",
    "lateral": "ventricles",
    "ventricles": "ventricles",
    "global": "csf",
    "whole": "brain",
    "brain": "brain",
}
"""The word of the methods text for the first word of each rung of the reference ladder, and for
the rung that the user asked for."""

LESION_WORDS = {
    EDITED: "manual",
    SEEDED: "seeds",
    CORRECTED: "corrected",
    "lstai": "lst_ai",
    "lst_ai": "lst_ai",
}
"""The word of the methods text for who made the lesion mask."""


def contents(
    session: Session,
    settings: Settings,
    head: Structural,
    iron: Susceptibility | None,
    table: pd.DataFrame,
) -> report.ParticipantReport:
    """Gather what the page shows."""
    regions = iron.regions if iron else None
    name = dict(session.entities)
    return report.ParticipantReport(
        participant_id=f"sub-{name['sub']}",
        session_id=f"ses-{session.session}" if session.session else "",
        run_id=f"run-{session.run}" if session.run else "",
        gre_name="_".join(f"{key}-{value}" for key, value in session.gre_entities),
        verdict=_verdict(head, iron),
        measures=table,
        quality=quality.checks(head, iron),
        sensitivity=regions.sensitivity if regions else None,
        samples_ppb=_samples(iron),
        gre=_gre(iron),
        regions=_regions(iron),
        anatomy=_anatomy(head),
        lesions=report.LesionMaps(
            flair=_moved(head.flair, head.flair_to_t1w) or head.flair,
            lesions=head.lesion_mask,
            t1w=head.t1w,
            ce_t1w=_moved(head.ce_t1w, head.ce_to_t1w),
            enhancing=head.enhancement.mask if head.enhancement else None,
        ),
        registrations=tuple(_registrations(head, iron)),
        warnings=tuple(
            advice.notice(text)
            for text in (
                *radiology.disagreement(session, head.enhancement),
                *head.warnings,
                *_iron_warnings(session, iron),
            )
        ),
        ran=ran(settings, head, iron),
        versions={"bids_qsmthal": __version__, **package_versions()},
        sources=dict(head.sources),
        command=settings.shown_command,
        links=(("Group", "group/group.html"),) if "group" in settings.levels else (),
    )


def _verdict(head: Structural, iron: Susceptibility | None) -> report.Verdict | None:
    checks = quality.checks(head, iron)
    if checks.empty:
        return None
    reasons = checks.loc[checks["verdict"] != quality.INCLUDE, "reason"]
    return report.Verdict(cast("Decision", quality.verdict(head, iron)), tuple(reasons))


def _samples(iron: Susceptibility | None) -> dict[str, NDArray[np.floating]]:
    if iron is None or iron.regions is None:
        return {}
    masks, chi_ppb = iron.regions.masks, 1000 * iron.maps.chi_ppm
    return {
        "left thalamus": chi_ppb[masks["thalamus"].data == 1],
        "right thalamus": chi_ppb[masks["thalamus"].data == 2],
        "CSF reference": chi_ppb[masks["reference"].data > 0],
    }


def _gre(iron: Susceptibility | None) -> report.GreMaps:
    if iron is None:
        return report.GreMaps()
    maps, image = iron.maps, iron.image
    return report.GreMaps(
        magnitude=iron.signal.magnitude,
        phase_rad=iron.signal.phase_rad,
        echo_times_s=iron.signal.series.acquisition.echo_times_s,
        brain=iron.brain,
        qsm_mask=image(maps.mask),
        total_field_hz=image(maps.total_field_hz),
        local_field_hz=image(maps.local_field_hz),
        chi_ppm=image(maps.chi_ppm),
        r2star_per_s=image(maps.r2star_hz) if maps.r2star_hz.any() else None,
    )


def _regions(iron: Susceptibility | None) -> report.RegionMasks:
    if iron is None or iron.regions is None:
        return report.RegionMasks()
    masks = iron.regions.masks
    return report.RegionMasks(
        thalamus=masks["thalamus"],
        thalamus_label=masks["thalamus_labelled"],
        veins=masks["veins"],
        csf_reference=masks["reference"],
        lesions=masks.get("lesions"),
    )


def _anatomy(head: Structural) -> report.AnatomyMaps:
    found = head.anatomy
    if found is None:
        return report.AnatomyMaps()
    return report.AnatomyMaps(
        t1w=found.t1w,
        brain=found.brain,
        tissue=found.tissue,
        deep_gray=found.deepgray,
        deep_gray_names=atlas.names("desc-deepgray_dseg"),
        nuclei=found.nuclei,
        nuclei_names=found.nuclei_names,
        thickness_mm=head.thickness_mm,
    )


def _moved(image: Image | None, rigid: Rigid | None) -> Image | None:
    """Put a scan into the world of T1w: its header moves, no voxel is resampled."""
    if image is None or rigid is None:
        return None
    return Image(image.data, rigid.matrix @ image.affine)


def _registrations(head: Structural, iron: Susceptibility | None) -> Iterable[report.Registration]:
    if head.prepared is None:
        return
    moving = [
        ("FLAIR to T1w", head.flair, head.flair_to_t1w),
        ("post-contrast T1w to T1w", head.ce_t1w, head.ce_to_t1w),
    ]
    if iron is not None:
        moving.append(("MEGRE to T1w", iron.combined, iron.to_t1w))
    labels = head.prepared.labels
    ventricles = labels.like(np.isin(labels.data, LATERAL_VENTRICLE).astype(np.uint8))
    outlines = {"brain": head.prepared.brain, "ventricles": ventricles}
    for name, image, rigid in moving:
        if image is not None and rigid is not None:
            yield report.Registration(
                name=name,
                fixed=head.prepared.t1w,
                moving=image,
                matrix=rigid.matrix,
                outlines=outlines,
                quality=rigid.quality,
            )


def _iron_warnings(session: Session, iron: Susceptibility | None) -> list[str]:
    if iron is None:
        return ["There is no gradient echo: no susceptibility."] if session.gre is None else []
    said = [*iron.maps.warnings, *(iron.to_t1w.warnings if iron.to_t1w else ())]
    if iron.signal.report.contradiction:
        said.append(iron.signal.report.contradiction)
    if iron.regions is None:
        said.append(
            "Nothing says where the thalamus is: add a T1w image, or bring a segmentation with "
            "--derivatives."
        )
        return said
    return [*said, *iron.regions.warnings]


def ran(settings: Settings, head: Structural, iron: Susceptibility | None) -> dict[str, str]:
    """Name the method of each step that ran, in the words of the methods text."""
    said = {"app": __version__}
    if head.prepared is not None:
        said |= {
            "bias_field": "n4",
            "brain": head.sources.get("brain", "deepbet"),
            "registration": "ants",
            "atlas": atlas.SPACE,
            "thickness": "distance",
            "tissue": "mixture",
        }
        if head.lesion_mask is not None:
            said["lesion_filling"] = "yes"
    said = _without_replaced(said, head) | _brought_ran(head)
    if head.lesion_mask is not None:
        maker = head.sources.get("lesion", "outlier")
        said["lesions"] = LESION_WORDS.get(maker.lower().replace("-", ""), maker)
    if head.enhancement is not None:
        said["enhancement"] = head.sources.get("enhancing", "subtraction")
    if iron is not None:
        said |= _qsm_ran(settings, head, iron)
    return said


def _without_replaced(said: dict[str, str], head: Structural) -> dict[str, str]:
    """Leave out the steps whose results were brought."""
    unused = set()
    if {"tissue", "deepgray"} <= set(head.sources):
        unused.add("tissue")
    if head.thickness_mm is None:
        unused.add("thickness")
    return {step: method for step, method in said.items() if step not in unused}


def _brought_ran(head: Structural) -> dict[str, str]:
    """Name whose labels and tables took the place of ours."""
    keys = ("numbers", "deepgray", "deepgray_gre", "tissue", "nuclei")
    source = next((head.sources[key] for key in keys if key in head.sources), None)
    if source is None:
        return {}
    labels = {"labels": "brought"} if "deepgray" in head.sources else {}
    if not head.program:
        return {"anatomy_source": source, **labels}
    return {
        "anatomy_source": head.program.split()[0].lower(),
        "anatomy_program": head.program,
        "anatomy_dataset": source.split(" (")[0],
        **labels,
    }


def _inversion(method: object) -> str:
    """Name the inversion; MEDI that keeps CSF uniform is MEDI+0."""
    name = name_of(method)
    return "medi0" if name == "medi" and getattr(method, "csf_regularisation", 0) > 0 else name


def _qsm_ran(settings: Settings, head: Structural, iron: Susceptibility) -> dict[str, str]:
    chosen, acquisition = settings.reconstruction, iron.signal.series.acquisition
    times_ms = [1000 * time for time in acquisition.echo_times_s]
    said = {
        "echoes": str(len(times_ms)),
        "echo_times_ms": f"{times_ms[0]:.3g} to {times_ms[-1]:.3g}",
        "field_strength_t": f"{acquisition.field_strength_t:g}",
        "voxel_size_mm": " x ".join(f"{size:.3g}" for size in iron.combined.grid.voxel_size_mm),
        "unwrapping": name_of(chosen.fitting.unwrapping),
        "field_fit": "nonlinear",
        "relaxation": name_of(chosen.relaxation),
        "background": name_of(chosen.background),
        "inversion": _inversion(chosen.inversion),
        "phase_offset": "polynomial",
    }
    if iron.signal.report.chopped:
        said["phase_correction"] = "every other slice was negated"
    if "chi" in head.sources:
        said["qsm_source"] = head.sources["chi"]
    if iron.regions is not None:
        said |= {
            "thalamus": "yes",
            "csf_reference": REFERENCE_WORDS.get(iron.regions.rung.split()[0], iron.regions.rung),
            "wanted_reference": REFERENCE_WORDS[settings.regions.reference.region],
            "relative_susceptibility": "yes",
        }
    return said
