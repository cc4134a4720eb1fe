"""What a participant's report shows, gathered from the results."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bids_qsmthal import __version__, report
from bids_qsmthal.anatomy import atlas
from bids_qsmthal.anatomy.warping import sample_images
from bids_qsmthal.bids import visits
from bids_qsmthal.bids.derivatives import package_versions
from bids_qsmthal.core import colors
from bids_qsmthal.core.decision import Decision
from bids_qsmthal.core.image import Image
from bids_qsmthal.core.labels import LATERAL_VENTRICLE, THALAMUS
from bids_qsmthal.core.scan_warnings import NoGradientEcho, ScanWarning, ThalamusUnknown
from bids_qsmthal.participant import measures, methods, quality, radiology, separated
from bids_qsmthal.participant.lesion_iron import Rim
from bids_qsmthal.participant.pipeline import SEPARATION
from bids_qsmthal.report import sentences

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from bids_qsmthal.anatomy import Rigid
    from bids_qsmthal.bids.dataset import Session
    from bids_qsmthal.participant.atlas_regions import MeasuredAtlas
    from bids_qsmthal.participant.pipeline import Plan
    from bids_qsmthal.participant.relaxation import MagnitudeResults
    from bids_qsmthal.participant.structural import Structural
    from bids_qsmthal.participant.susceptibility import Susceptibility
    from bids_qsmthal.settings import Settings


def contents(  # noqa: PLR0913 - what came of each kind of scan
    session: Session,
    settings: Settings,
    structural: Structural,
    susceptibility: Susceptibility | None,
    table: pd.DataFrame,
    plan: Plan,
    *,
    relaxation: MagnitudeResults | None = None,
) -> report.ParticipantReport:
    """Gather what the page shows."""
    regions = susceptibility.regions if susceptibility else None
    name = dict(session.entities)
    return report.ParticipantReport(
        participant_id=f"sub-{name['sub']}",
        session_id=f"ses-{session.session}" if session.session else "",
        run_id=f"run-{session.run}" if session.run else "",
        gre_name="_".join(f"{key}-{value}" for key, value in session.gre_entities),
        verdict=_verdict(session, structural, susceptibility, relaxation),
        measures=table,
        quality=quality.checks(structural, susceptibility, session.unusable, relaxation),
        sensitivity=regions.sensitivity if regions else None,
        samples_ppb=_samples(susceptibility),
        gre=_gre(susceptibility) if relaxation is None else _magnitude(relaxation),
        regions=_regions(susceptibility),
        anatomy=_anatomy(structural),
        lesions=report.LesionMaps(
            flair=_in_t1w_world(structural.flair, structural.flair_to_t1w) or structural.flair,
            lesions=structural.lesion_mask,
            t1w=structural.t1w,
            ce_t1w=_in_t1w_world(structural.ce_t1w, structural.ce_to_t1w),
            enhancing=structural.enhancement.mask if structural.enhancement else None,
        ),
        lesion_iron=_lesion_iron(settings, susceptibility),
        template=_template(structural),
        registrations=tuple(_registrations(structural, susceptibility or relaxation)),
        warnings=tuple(
            sentences.notice(warning)
            for warning in (
                *session.warnings,
                *radiology.disagreement(session, structural.enhancement),
                *structural.warnings,
                *_gre_warnings(session, susceptibility, relaxation),
            )
        ),
        methods_run=methods.methods_run(
            *(settings, structural, susceptibility, session), relaxation=relaxation
        ),
        versions={"bids_qsmthal": __version__, **package_versions()},
        sources={key: str(source) for key, source in structural.sources.items()},
        stages=_outcomes(plan, susceptibility),
        command=settings.shown_command,
        scanned_on=visits.scanned_on(session),
        inputs=session.inputs,
        links=(("Group", "group/group.html"),) if "group" in settings.levels else (),
        among=f"group/quality.html#{session.name}",
    )


def _outcomes(plan: Plan, susceptibility: Susceptibility | None) -> tuple[tuple[str, str], ...]:
    """Return title of every stage, and ``done`` or why it was left out.

    A plan is made from the names of files. What the maps lack for a separation shows in them alone.
    """
    planned = SEPARATION in plan.stages
    if susceptibility is None or susceptibility.separated is not None or not planned:
        return plan.outcomes
    lack = separated.lacking(susceptibility.maps, susceptibility.regions)
    return tuple((dict(plan.outcomes) | {SEPARATION.title: f"left out, {lack}"}).items())


def with_atlases(
    shown: report.ParticipantReport, measured: Sequence[MeasuredAtlas]
) -> report.ParticipantReport:
    """Return a page that also shows the regions of the user's atlases."""
    maps = [
        report.AtlasMaps(
            name=one.atlas.name,
            labels=one.carried.labels,
            names=one.atlas.names,
            colors=colors.of_labels(one.atlas.names, one.atlas.colors),
            table=_region_table(one),
        )
        for one in measured
    ]
    run = replace(shown.methods_run, atlases=methods.atlases(measured))
    return replace(shown, atlases=maps, methods_run=run)


def _region_table(measured: MeasuredAtlas) -> pd.DataFrame:
    """Return one row per region and one column per measure, in the order of both."""
    columns = {
        name: f"{name} ({unit})"
        for name, unit in measures.UNITS_OF_REGIONS.items()
        if any(number.measure == name for number in measured.numbers)
    }
    values = {(number.region, number.measure): number.value for number in measured.numbers}
    rows = [
        {"region": measured.atlas.names[region]}
        | {column: values.get((region, name), np.nan) for name, column in columns.items()}
        for region in measured.carried.numbers
    ]
    return pd.DataFrame(rows, columns=["region", *columns.values()])


def _verdict(
    session: Session,
    structural: Structural,
    susceptibility: Susceptibility | None,
    relaxation: MagnitudeResults | None,
) -> report.Verdict | None:
    judged = (structural, susceptibility, session.unusable, relaxation)
    checks = quality.check_rows(*judged)
    if not checks:
        return None
    doubtful = [check for check in checks if check.decision is not Decision.INCLUDE]
    # A failed registration explains what is wrong with the regions: it is said before them.
    doubtful.sort(key=lambda check: not check.name.startswith("registration_"))
    reasons = [check.reason for check in doubtful]
    if susceptibility is not None and susceptibility.regions is None:
        reasons.append(sentences.sentence(ThalamusUnknown()))
    return report.Verdict(quality.decision(*judged), tuple(reasons))


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
    apart = susceptibility.separated
    return report.GreMaps(
        magnitude=susceptibility.signal.magnitude,
        # Made from a given field, it is none to look at.
        phase_rad=susceptibility.signal.phase_rad if susceptibility.signal.report else None,
        echo_times_s=susceptibility.signal.series.acquisition.echo_times_s,
        brain=susceptibility.brain,
        qsm_mask=image(maps.mask),
        total_field_hz=image(maps.total_field_hz),
        local_field_hz=image(maps.local_field_hz),
        chi_ppm=image(maps.chi_ppm),
        # All zero: one echo, no decay to fit.
        r2star_per_s=image(maps.r2star_hz) if maps.r2star_hz.any() else None,
        paramagnetic_ppm=None if apart is None else image(apart.sources.paramagnetic_ppm),
        diamagnetic_ppm=None if apart is None else image(apart.sources.diamagnetic_ppm),
    )


def _magnitude(relaxation: MagnitudeResults) -> report.GreMaps:
    return report.GreMaps(
        magnitude=relaxation.signal.magnitude,
        echo_times_s=relaxation.signal.series.acquisition.echo_times_s,
        brain=relaxation.brain,
        r2star_per_s=relaxation.r2star_hz,
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
        small_nuclei=anatomy.small_nuclei,
        small_nuclei_names=anatomy.small_nuclei_names,
        thickness_mm=structural.thickness_mm,
    )


CANDIDATE = 0.1
"""Probability from which a lesion is shown to a reader: below it one in a hundred had a rim
(docs/lesion-iron.md)."""


def _lesion_iron(
    settings: Settings, susceptibility: Susceptibility | None
) -> report.LesionIronMaps | None:
    if susceptibility is None or susceptibility.lesions is None:
        return None
    measured = susceptibility.lesions
    table, iron = measured.table, measured.iron
    present, seen = table["rim"] == Rim.PRESENT, table["id"].isin(np.unique(iron.labels.data))
    likely = (table["rim_probability"] >= CANDIDATE) | present
    # Those that a reader marked and the score did not see come first.
    shown = table[likely & seen].sort_values(
        ["rim_probability", "id"], ascending=[False, True], na_position="first"
    )
    return report.LesionIronMaps(
        labels_t1w=measured.distinct.labels,
        labels_gre=iron.labels,
        gre_to_t1w=susceptibility.gre_to_t1w,
        chi_ppm=susceptibility.image(susceptibility.maps.chi_ppm),
        normal_white_ppb=iron.normal_white_ppb.value,
        means_ppb=dict(zip(table["id"], table["chi_relative_nawm_ppb"], strict=True)),
        rims=frozenset(table["id"][present]),
        candidates=tuple(
            report.RimCandidate(*one)
            for one in zip(
                *(shown[name].tolist() for name in ("id", "rim", "rim_probability", "diameter_mm")),
                strict=True,
            )
        ),
        assessed=int((table["rim"] != Rim.NOT_ASSESSED).sum()),
        least_mm=settings.rims.least_mm(susceptibility.combined.grid.voxel_size_mm),
        shown_from=CANDIDATE,
        table=table,
    )


def _in_t1w_world(image: Image | None, rigid: Rigid | None) -> Image | None:
    """Put a scan into the world of T1w: its header moves, no voxel is resampled."""
    if image is None or rigid is None:
        return None
    # Voxel to the scan's world, then to that of T1w.
    return Image(image.data, rigid.matrix @ image.affine)


def _template(structural: Structural) -> report.Registration | None:
    """Return T1w and the template bent onto its grid."""
    prepared = structural.prepared
    if prepared is None:
        return None
    points = prepared.to_template.template_points(prepared.t1w)
    (bent,) = sample_images([atlas.template("T1w")], points)
    labels = prepared.labels
    return report.Registration(
        name="T1w to template",
        shown=("T1w of the participant", "template, deformed to fit"),
        fixed=prepared.t1w,
        moving=prepared.t1w.like(bent.reshape(prepared.t1w.shape)),
        matrix=np.eye(4),
        outlines={
            "brain": prepared.brain,
            "ventricles of the atlas": labels.like(np.isin(labels.data, LATERAL_VENTRICLE)),
            "thalami of the atlas": labels.like(np.isin(labels.data, THALAMUS)),
            "white matter of the template": labels.like(prepared.prior_wm.data > 0.5),
        },
    )


def _registrations(
    structural: Structural, gre: Susceptibility | MagnitudeResults | None
) -> Iterable[report.Registration]:
    if structural.prepared is None:
        return
    moving = [
        ("FLAIR", structural.flair, structural.flair_to_t1w),
        ("post-contrast T1w", structural.ce_t1w, structural.ce_to_t1w),
    ]
    if gre is not None:
        moving.append(("gradient echo", gre.combined, gre.to_t1w))
    labels = structural.prepared.labels
    ventricles = labels.like(np.isin(labels.data, LATERAL_VENTRICLE).astype(np.uint8))
    # Two sharp borders, one outside and one inside: a reader sees a shift or a turn at them.
    outlines = {"brain": structural.prepared.brain, "ventricles": ventricles}
    for scan, image, rigid in moving:
        if image is not None and rigid is not None:
            yield report.Registration(
                name=f"{scan} to T1w",
                shown=("T1w", f"{scan}, registered to it"),
                fixed=structural.prepared.t1w,
                moving=image,
                matrix=rigid.matrix,
                outlines=outlines,
                quality=rigid.quality,
            )


def _gre_warnings(
    session: Session, susceptibility: Susceptibility | None, relaxation: MagnitudeResults | None
) -> list[ScanWarning]:
    if relaxation is not None:
        registered = relaxation.to_t1w
        return [*relaxation.signal.warnings, *(registered.warnings if registered else ())]
    if susceptibility is None:
        # One that cannot be used has a warning of its own.
        return [] if session.unusable_gre else [NoGradientEcho()]
    registration = susceptibility.to_t1w
    warnings = [
        *susceptibility.signal.warnings,
        *susceptibility.maps.warnings,
        *(registration.warnings if registration else ()),
    ]
    if susceptibility.regions is None:
        return [*warnings, ThalamusUnknown()]
    return [*warnings, *susceptibility.regions.warnings]
