"""Every number of a participant as one tidy table, and the dictionary that explains it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bids_qsmthal.dataset import Session
    from bids_qsmthal.participant.head import Head
    from bids_qsmthal.participant.iron import Iron

COLUMNS = (
    *("participant_id", "session_id", "run_id", "measure", "region", "hemisphere", "value"),
    *("unit", "n_voxels", "n_lost", "method", "source", "qc"),
)

OURS = "bids_qsmthal"
"""Source of what was not brought."""

TISSUES = {"gray_matter", "white_matter", "csf", "intracranial", "cortical_gray_matter"}
"""Regions whose volume is a sum of tissue fractions, not of labels."""

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
            "enhancing_count": "number of gadolinium-enhancing lesions",
            "enhancing_present": "1 if any lesion enhances, 0 if none",
            "qsm_*": "figures of the reconstruction: signal to noise, noise of the field, share of "
            "the mask lost, convergence",
        },
    },
    "region": {"Description": "Where it was measured."},
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


def collect(session: Session, head: Head, iron: Iron | None, qc: str) -> pd.DataFrame:
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
    table["qc"] = table["qc"].fillna(qc)
    counts = ["n_voxels", "n_lost"]
    table[counts] = table[counts].astype("Int64")
    return table


def _named_sources(table: pd.DataFrame, head: Head) -> pd.DataFrame:
    """Put the name of who made the segmentation or the mask where the table has its kind."""
    brought = head.sources
    segmentation = brought.get("deepgray_gre") or brought.get("deepgray") or OURS
    supplied = brought.get("thalamus", OURS)
    return table.assign(
        source=table["source"].replace({"segmentation": segmentation, "supplied": supplied})
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


def _anatomy(head: Head) -> Iterable[dict[str, Any]]:
    if head.anatomy is None:
        return
    brought = head.sources.get("deepgray")
    for name, volume_mm3 in head.anatomy.volumes_mm3.items():
        region, _, hemisphere = name.rpartition("_")
        if hemisphere not in {"L", "R", "LR"}:
            region, hemisphere = name, ""
        labelled = region not in TISSUES
        yield row(
            "volume",
            region,
            volume_mm3,
            "mm3",
            hemisphere=hemisphere or None,
            method="label volume" if labelled else "sum of tissue fractions",
            source=brought if brought and labelled else OURS,
        )
    for side, thickness_mm in head.anatomy.thickness_mean_mm.items():
        yield row(
            "thickness_mean",
            "cortex",
            thickness_mm,
            "mm",
            hemisphere="LR" if side == "whole" else side,
            method="mean over the cortical ribbon",
        )


def _lesions(head: Head) -> Iterable[dict[str, Any]]:
    if head.lesion_mask is None:
        return
    source = head.sources.get("lesion", OURS)
    mask = head.lesion_mask
    volume_mm3 = float((mask.data > 0).sum()) * mask.voxel_volume_mm3
    method = "T2 lesions from FLAIR"
    yield row("volume", "lesion", volume_mm3, "mm3", method=method, source=source)
    count = _components(mask) if "lesion" in head.sources or not head.lesions else None
    yield row(
        "lesion_count",
        "lesion",
        float(head.lesions.count if count is None and head.lesions else count or 0),
        "1",
        method=method,
        source=source,
    )


def _components(mask: Any) -> int:  # noqa: ANN401 - an Image
    from scipy import ndimage  # noqa: PLC0415

    return int(ndimage.label(mask.data > 0, structure=[[[1] * 3] * 3] * 3)[1])


def _enhancement(head: Head) -> Iterable[dict[str, Any]]:
    if head.enhancement is None:
        return
    found = head.enhancement
    method = "post- minus pre-contrast T1w"
    yield row("enhancing_count", "enhancing", float(found.count), "1", method=method)
    yield row("enhancing_present", "enhancing", float(found.count > 0), "1", method=method)
    yield row("volume", "enhancing", found.volume_mm3, "mm3", method=method)


def _reconstruction(iron: Iron) -> Iterable[dict[str, Any]]:
    figures = iron.maps.quality | {"converged": float(iron.maps.converged)}
    for name, value in figures.items():
        unit = {"field_noise_hz": "Hz", "residual_rad": "rad"}.get(name, "1")
        yield row(f"qsm_{name}", "brain", value, unit, method="reconstruction")
