"""Every number of a participant as one tidy table, and the dictionary that explains it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from bids_qsmthal.lesions import LOCATIONS
from bids_qsmthal.participant.morphometry import OURS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bids_qsmthal.bids.dataset import Session
    from bids_qsmthal.participant.structural import Structural
    from bids_qsmthal.participant.susceptibility import Susceptibility

COLUMNS = (
    *("participant_id", "session_id", "run_id", "measure", "region", "hemisphere", "value"),
    *("unit", "n_voxels", "n_lost", "method", "source", "qc"),
)

DICTIONARY: dict[str, Any] = {
    "participant_id": {"Description": "Participant."},
    "session_id": {"Description": "Session; n/a where there is none."},
    "run_id": {"Description": "What tells the gradient-echo scan from others of the session."},
    "measure": {
        "Description": "What was measured.",
        "Levels": {
            "chi_mean": "mean susceptibility of the region, all voxels of both signs",
            "chi_sd": "its standard deviation over voxels",
            "chi_median": "its median over voxels",
            "chi_relative_csf": "mean chi(region) - mean chi(CSF reference); larger = more iron",
            "chi_relative_csf_se": "standard error of chi_relative_csf",
            "chi_relative_csf_ci_low": "lower end of its 95 % interval",
            "chi_relative_csf_ci_high": "upper end of its 95 % interval",
            "chi_relative_csf_global": "mean chi(region) - mean chi(all CSF in the brain's middle)",
            "chi_relative_brain": "mean chi(region) - mean chi(brain)",
            "r2star_mean": "mean R2* of the region",
            "volume": "volume of the region on the grid of T1w",
            "thickness_mean": "mean thickness of the cortex",
            "lesion_count": "number of T2 lesions",
            "count": "number of those of one place",
            "enhancing_count": "number of gadolinium-enhancing lesions",
            "enhancing_present": "1 if any lesion enhances, 0 if none",
            "qsm_*": "figures of the reconstruction: signal to noise, noise of the field, share of "
            "the mask lost, convergence",
        },
    },
    "region": {
        "Description": "Where it was measured.",
        "Levels": {
            "lesion": "T2 lesions",
            "lesion_*": "those of one place (contact within 2 mm: with a lateral ventricle, else "
            "with the cortex; in brainstem or cerebellum; else deep white matter)",
            "lesion_thalamus": "the part of the T2 lesions in the thalami",
        },
    },
    "hemisphere": {"Description": "Side.", "Levels": {"L": "left", "R": "right", "LR": "both"}},
    "value": {"Description": "The number, in the unit of its row."},
    "unit": {"Description": "Unit: ppb, mm3, mm, 1/s, 1 for counts and ratios."},
    "n_voxels": {"Description": "Voxels that the number is made from."},
    "n_lost": {"Description": "Voxels of the label that were left out."},
    "method": {"Description": "How it was measured."},
    "source": {"Description": "Who made the region or map: this app, a dataset, a manual edit."},
    "qc": {
        "Description": "Automatic quality control of the participant.",
        "Levels": {"include": "use", "check": "look first", "exclude": "do not use"},
    },
}


def collect(
    session: Session, head: Structural, iron: Susceptibility | None, qc: str
) -> pd.DataFrame:
    """Return every number, one row each."""
    rows = [*_anatomy(head), *_lesions(head), *_enhancement(head)]
    parts = [pd.DataFrame(rows)] if rows else []
    if iron is not None:
        parts.append(pd.DataFrame([*_reconstruction(iron)]))
        if iron.regions is not None:
            parts.append(_named_sources(iron.regions.table, head))
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    table = table.reindex(columns=list(COLUMNS))
    table["participant_id"] = f"sub-{session.subject}"
    table["session_id"] = f"ses-{session.session}" if session.session else None
    table["run_id"] = session.run
    table["qc"] = qc
    counts = ["n_voxels", "n_lost"]
    table[counts] = table[counts].astype("Int64")
    return table


def _named_sources(table: pd.DataFrame, head: Structural) -> pd.DataFrame:
    """Put the name of who made the segmentation or the mask where the table has its kind."""
    brought = head.sources
    segmentation = brought.get("deepgray_gre") or brought.get("deepgray") or OURS
    outlined = brought.get("thalamus", OURS)
    return table.assign(
        source=table["source"].replace({"segmentation": segmentation, "external": outlined})
    )


def row(  # noqa: PLR0913 - the columns of a row
    measure: str,
    region: str,
    value: float,
    unit: str,
    *,
    hemisphere: str | None = None,
    method: str,
    source: str = OURS,
) -> dict[str, Any]:
    """Return one row; a value that is not finite is missing."""
    return {
        "measure": measure,
        "region": region,
        "hemisphere": hemisphere,
        "value": value if math.isfinite(value) else None,
        "unit": unit,
        "method": method,
        "source": source,
    }


def _anatomy(head: Structural) -> Iterable[dict[str, Any]]:
    for number in head.numbers:
        yield row(
            number.measure,
            number.region,
            number.value,
            number.unit,
            hemisphere=number.hemisphere or None,
            method=number.method,
            source=number.source,
        )


def _lesions(head: Structural) -> Iterable[dict[str, Any]]:
    if head.lesions is None:
        return
    source = head.sources.get("lesion", OURS)
    found, method = head.lesions, "T2 lesions from FLAIR"
    yield row("volume", "lesion", found.volume_mm3, "mm3", method=method, source=source)
    yield row("lesion_count", "lesion", float(found.count), "1", method=method, source=source)
    if head.prepared is None:
        return
    places = found.table.groupby("location")["volume_mm3"].agg(["sum", "size"])
    for place, (volume_mm3, count) in places.reindex(LOCATIONS, fill_value=0).iterrows():
        region = f"lesion_{str(place).replace(' ', '_')}"
        yield row("volume", region, float(volume_mm3), "mm3", method=method, source=source)
        yield row("count", region, float(count), "1", method=method, source=source)
    overlap = float(found.table["thalamus_mm3"].sum())
    yield row("volume", "lesion_thalamus", overlap, "mm3", method=method, source=source)


def _enhancement(head: Structural) -> Iterable[dict[str, Any]]:
    if head.enhancement is None:
        return
    found, source = head.enhancement, head.sources.get("enhancing", OURS)
    method = "post- minus pre-contrast T1w" if source == OURS else "mask that was brought"
    for measure, value, unit in (
        ("enhancing_count", float(found.count), "1"),
        ("enhancing_present", float(found.present), "1"),
        ("volume", found.volume_mm3, "mm3"),
    ):
        yield row(measure, "enhancing", value, unit, method=method, source=source)


def _reconstruction(iron: Susceptibility) -> Iterable[dict[str, Any]]:
    figures = iron.maps.quality | {"converged": float(iron.maps.converged)}
    for name, value in figures.items():
        unit = {"field_noise_hz": "Hz", "residual_rad": "rad"}.get(name, "1")
        yield row(f"qsm_{name}", "brain", value, unit, method="reconstruction")
