"""Every number of a participant as one tidy table, and the dictionary that explains it."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bids_qsmthal.core.sources import OURS, dataset
from bids_qsmthal.lesions import LOCATIONS
from bids_qsmthal.participant.lesion_iron import Rim
from bids_qsmthal.report import words
from bids_qsmthal.roi import MaskSource

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from bids_qsmthal.bids.dataset import Session
    from bids_qsmthal.core.decision import Decision
    from bids_qsmthal.core.sources import Source
    from bids_qsmthal.participant.atlas_regions import MeasuredAtlas
    from bids_qsmthal.participant.lesion_iron import MeasuredLesions
    from bids_qsmthal.participant.relaxation import MagnitudeResults
    from bids_qsmthal.participant.separated import Separated
    from bids_qsmthal.participant.structural import Structural
    from bids_qsmthal.participant.susceptibility import Susceptibility
    from bids_qsmthal.roi import LesionIron

COLUMNS = (
    *("participant_id", "session_id", "run_id", "measure", "region", "hemisphere", "value"),
    *("unit", "n_voxels", "n_lost", "method", "source", "qc"),
)

DICTIONARY: dict[str, Any] = {
    "participant_id": {"Description": "Participant."},
    "session_id": {"Description": "Session; n/a where there is none."},
    "run_id": {
        "Description": "What distinguishes the gradient-echo scan from others of the session."
    },
    "measure": {
        "Description": "What was measured.",
        "Levels": {
            "chi_mean": "mean susceptibility of the region, all voxels of both signs",
            "chi_sd": "its standard deviation over voxels",
            "chi_median": "its median over voxels",
            "chi_relative_csf": "mean chi(region) - mean chi(CSF reference); larger = more iron",
            "chi_relative_csf_se": "standard error of chi_relative_csf: noise of this scan, its "
            "CSF reference, and the error of the method by voxel size and noise, in other regions "
            "than the thalamus also by how far they stand out from the brain; it does not "
            "include what changes when a person is scanned again (limits of agreement of two "
            "scans are about 7 ppb to either side: Dimov 2022, doi 10.1111/jon.12923)",
            "chi_relative_csf_ci_low": "lower end of the 95 % interval of that error",
            "chi_relative_csf_ci_high": "upper end of the 95 % interval of that error",
            "chi_relative_csf_global": "mean chi(region) - mean chi(all CSF in the brain's middle)",
            "chi_relative_brain": "mean chi(region) - mean chi(brain)",
            "chi_paramagnetic_mean": "mean of the paramagnetic source (--separation), CSF is zero",
            "chi_diamagnetic_mean": "mean of the diamagnetic source (--separation), CSF is zero",
            "r2star_mean": "mean R2* of the region",
            "volume": "volume of the region on the grid of T1w",
            "lesion_volume": "volume of the T2 lesions in the region",
            "lesion_share": "share of the region that is T2 lesion",
            "thickness_mean": "mean thickness of the cortex",
            "lesion_count": "number of T2 lesions",
            "count": "number of the lesions in one place",
            "lesion_count_distinct": "number of T2 lesions, with confluent ones separated",
            "chi_relative_nawm_mean": "chi(lesion) - chi(normal-appearing white matter), mean over "
            "distinct lesions",
            "chi_relative_nawm_weighted": "the same, weighted by the volumes of the lesions",
            "chi_relative_nawm_largest": "the same of the largest lesion",
            "chi_relative_csf_mean": "chi(lesion) - chi(CSF reference), mean over distinct lesions",
            "chi_relative_csf_weighted": "the same, weighted by the volumes of the lesions",
            "chi_relative_csf_largest": "the same of the largest lesion",
            "rim_count": "number of distinct lesions with a paramagnetic rim",
            "rim_present": "1 if any lesion has a paramagnetic rim, 0 if none",
            "rim_assessed": "number of distinct lesions that have a rim or would show one",
            "enhancing_count": "number of gadolinium-enhancing lesions",
            "enhancing_present": "1 if any lesion enhances, 0 if none",
            **{key: text for key, text in words.MEASURES.items() if key.startswith("qsm_")},
        },
    },
    "region": {
        "Description": "Where it was measured.",
        "Levels": {
            "lesion": "T2 lesions",
            "lesion_*": "the lesions in one place (contact within 2 mm: with a lateral ventricle, "
            "otherwise with the cortex; in brainstem or cerebellum; otherwise deep white matter)",
            "lesion_thalamus": "the part of the T2 lesions in the thalami",
            "lesion_rim": "whole T2 lesions that have a paramagnetic rim",
            "*:*": "a region of an atlas of the user (--atlas): name of the atlas, name of the "
            "region in its table; susceptibility and R2* without veins",
            "normal_appearing_white_matter": "white matter 3 mm and more from any T2 lesion",
        },
    },
    "hemisphere": {"Description": "Side.", "Levels": {"L": "left", "R": "right", "LR": "both"}},
    "value": {"Description": "The number, in the unit of its row."},
    "unit": {"Description": "Unit: ppb, mm3, mm, 1/s, 1 for counts and ratios."},
    "n_voxels": {
        "Description": (
            "Voxels of the image from which the number is made; after interpolation (zero "
            "filling) fewer are independent, which the standard error takes into account."
        )
    },
    "n_lost": {"Description": "Voxels of the label that were left out."},
    "method": {"Description": "How it was measured."},
    "source": {"Description": "Who made the region or map: this app, a dataset, a manual edit."},
    "qc": {
        "Description": "Automatic quality control of the participant.",
        "Levels": {"include": "use", "check": "look first", "exclude": "do not use"},
    },
}


def collect(
    session: Session,
    structural: Structural,
    susceptibility: Susceptibility | None,
    decision: Decision,
    atlases: Sequence[MeasuredAtlas] = (),
    *,
    relaxation: MagnitudeResults | None = None,
) -> pd.DataFrame:
    """Return every number, one row each."""
    rows = [*_anatomy(structural), *_lesions(structural), *_enhancement(structural)]
    if relaxation is not None:
        source = structural.sources.get("r2star", OURS)
        rows.append(_r2star_of_brain(relaxation, source))
    parts = [pd.DataFrame(rows)] if rows else []
    if susceptibility is not None:
        apart = susceptibility.separated
        found = [*_reconstruction(susceptibility), *(source_rows(apart) if apart else [])]
        lesions = susceptibility.lesions
        if lesions is not None:
            found += lesion_iron_rows(lesions, structural.sources.get("lesion", OURS))
        parts.append(pd.DataFrame(found))
        if susceptibility.regions is not None:
            parts.append(_with_sources(susceptibility.regions.table, structural.sources))
    if of_atlases := [found for one in atlases for found in atlas_rows(one)]:
        parts.append(pd.DataFrame(of_atlases))
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    table = table.reindex(columns=list(COLUMNS))
    table["participant_id"] = f"sub-{session.subject}"
    table["session_id"] = f"ses-{session.session}" if session.session else None
    table["run_id"] = session.run
    table["qc"] = decision.value
    counts = ["n_voxels", "n_lost"]
    # Integers that can be missing: else 5 becomes 5.0 where another row has none.
    table[counts] = table[counts].astype("Int64")
    return table


EXTERNAL_MASKS = {"thalamus": "thalamus", "csf_reference": "csf_reference"}
"""Key of the external file whose mask a region was measured in."""


def _with_sources(table: pd.DataFrame, sources: Mapping[str, Source]) -> pd.DataFrame:
    """Put who made the segmentation or the mask where the table has its kind."""
    segmentation = sources.get("deepgray_gre") or sources.get("deepgray") or OURS

    def label(region: str, source: str) -> str:
        if source == MaskSource.SEGMENTATION:
            return str(segmentation)
        if source == MaskSource.EXTERNAL:
            # A region that is external without a key here would be an error of ours: no default.
            return str(sources[EXTERNAL_MASKS[region]])
        return source

    pairs = zip(table["region"], table["source"], strict=True)
    return table.assign(source=[label(region, source) for region, source in pairs])


def row(  # noqa: PLR0913 - the columns of a row
    measure: str,
    region: str,
    value: float,
    unit: str,
    *,
    hemisphere: str | None = None,
    method: str,
    source: Source = OURS,
) -> dict[str, Any]:
    """Return one row; a value that is not finite is missing."""
    return {
        "measure": measure,
        "region": region,
        "hemisphere": hemisphere,
        "value": value if math.isfinite(value) else None,
        "unit": unit,
        "method": method,
        "source": str(source),
    }


def _anatomy(structural: Structural) -> Iterable[dict[str, Any]]:
    for number in structural.numbers:
        yield row(
            number.measure,
            number.region,
            number.value,
            number.unit,
            hemisphere=number.hemisphere or None,
            method=number.method_label,
            source=number.source,
        )


def _lesions(structural: Structural) -> Iterable[dict[str, Any]]:
    if structural.lesions is None:
        return
    source = structural.sources.get("lesion", OURS)
    lesions, method = structural.lesions, "T2 lesions from FLAIR"
    yield row("volume", "lesion", lesions.corrected_mm3, "mm3", method=method, source=source)
    yield row("lesion_count", "lesion", float(lesions.count), "1", method=method, source=source)
    # Places of lesions follow from tissues and labels, which need T1w.
    if structural.prepared is None:
        return
    sums = lesions.table.groupby("location")[lesions.volume_column].agg(["sum", "size"])
    # A place without lesions gets 0; without a row it would be missing at group level.
    for location, (volume_mm3, count) in sums.reindex(LOCATIONS, fill_value=0).iterrows():
        region = f"lesion_{str(location).replace(' ', '_')}"
        yield row("volume", region, float(volume_mm3), "mm3", method=method, source=source)
        yield row("count", region, float(count), "1", method=method, source=source)
    overlap = float(lesions.table["thalamus_mm3"].sum())
    yield row("volume", "lesion_thalamus", overlap, "mm3", method=method, source=source)


def _enhancement(structural: Structural) -> Iterable[dict[str, Any]]:
    if structural.enhancement is None:
        return
    enhancement, source = structural.enhancement, structural.sources.get("enhancing", OURS)
    method = "post- minus pre-contrast T1w" if source == OURS else "external mask"
    for measure, value, unit in (
        ("enhancing_count", float(enhancement.count), "1"),
        ("enhancing_present", float(enhancement.present), "1"),
        ("volume", enhancement.volume_mm3, "mm3"),
    ):
        yield row(measure, "enhancing", value, unit, method=method, source=source)


def source_rows(separated: Separated) -> list[dict[str, Any]]:
    """Return the means of both sources in each region, in ppb."""
    rows = []
    for (region, hemisphere), part in separated.regions.items():
        known = part.mask & separated.sources.known
        if not known.any():
            continue
        lost = part.lost + int((part.mask & ~known).sum())
        counts = {"n_voxels": int(known.sum()), "n_lost": lost}
        names = ("chi_paramagnetic_mean", "chi_diamagnetic_mean")
        for name, mean_ppm in zip(names, separated.sources.means_ppm(known), strict=True):
            made = row(
                *(name, region, 1000 * mean_ppm, "ppb"),
                hemisphere=hemisphere,
                method="R2* separation",
            )
            rows.append(made | counts)
    return rows


def lesion_iron_rows(measured: MeasuredLesions, source: Source) -> list[dict[str, Any]]:
    """Return what is known of the iron in all lesions together.

    Parameters
    ----------
    source
        Who made the lesion mask.
    """
    return [
        *_susceptibility_of_lesions(measured.table, source),
        *_normal_white(measured.iron),
        *_rim_rows(measured.table, measured.rim_source),
    ]


UNITS_OF_REGIONS = {
    "volume": "mm3",
    "lesion_volume": "mm3",
    "lesion_share": "1",
    "thickness_mean": "mm",
    "chi_mean": "ppb",
    "chi_relative_csf": "ppb",
    "r2star_mean": "1/s",
}
"""Of what is measured in the regions of an atlas."""


def atlas_rows(measured: MeasuredAtlas) -> Iterable[dict[str, Any]]:
    """Return what was measured in the regions of an atlas of the user; sides are in its names."""
    for number in measured.numbers:
        made = row(
            number.measure,
            f"{measured.atlas.name}:{measured.atlas.names[number.region]}",
            number.value,
            UNITS_OF_REGIONS[number.measure],
            method=measured.method,
            source=dataset(measured.atlas.name),
        )
        yield made | {"n_voxels": number.n_voxels, "n_lost": number.n_lost}


DISTINCT = "distinct T2 lesions"
"""Method of numbers that are made from single lesions."""


def _susceptibility_of_lesions(table: pd.DataFrame, source: Source) -> Iterable[dict[str, Any]]:
    made = partial(row, method=DISTINCT, source=source)
    yield made("lesion_count_distinct", "lesion", float(len(table)), "1")
    volumes = table["volume_mm3"].to_numpy(float)
    for against in ("nawm", "csf"):
        column = f"chi_relative_{against}"
        values_ppb = table[f"{column}_ppb"].to_numpy(float)
        for name, value_ppb in _over_lesions(values_ppb, volumes).items():
            yield made(f"{column}_{name}", "lesion", value_ppb, "ppb")
    decay_hz = _over_lesions(table["r2star_hz"].to_numpy(float), volumes)["weighted"]
    yield made("r2star_mean", "lesion", decay_hz, "1/s")


def _over_lesions(
    values: NDArray[np.float64], volumes_mm3: NDArray[np.float64]
) -> dict[str, float]:
    """Return the mean over the lesions that have a value, that of their volume, and the largest."""
    known = np.isfinite(values)
    if not known.any():
        return dict.fromkeys(("mean", "weighted", "largest"), math.nan)
    return {
        "mean": float(values[known].mean()),
        "weighted": float(np.average(values[known], weights=volumes_mm3[known])),
        # Of all lesions: where the largest has no value, the next one is not it.
        "largest": float(values[volumes_mm3.argmax()]),
    }


def _normal_white(iron: LesionIron) -> Iterable[dict[str, Any]]:
    white, region = iron.normal_white_ppb, "normal_appearing_white_matter"
    for measure, value, unit in (
        ("chi_mean", white.value, "ppb"),
        ("chi_sd", white.sd, "ppb"),
        ("chi_relative_csf", white.value - iron.csf_ppb.value, "ppb"),
        ("r2star_mean", iron.normal_white_r2star_hz, "1/s"),
    ):
        yield row(measure, region, value, unit, method="QSM") | {"n_voxels": white.count}


def _rim_rows(table: pd.DataFrame, source: Source) -> Iterable[dict[str, Any]]:
    present, assessed = (table["rim"] == Rim.PRESENT), (table["rim"] != Rim.NOT_ASSESSED)
    # No rim in a scan that could show none is no finding; without lesions there is none to find.
    known = bool(assessed.any()) or table.empty
    made = partial(row, method=DISTINCT, source=source)
    for measure, region, value, unit in (
        ("rim_count", "lesion", float(present.sum()), "1"),
        ("rim_present", "lesion", float(present.any()), "1"),
        ("volume", "lesion_rim", float(table["volume_mm3"][present].sum()), "mm3"),
    ):
        yield made(measure, region, value if known else math.nan, unit)
    yield made("rim_assessed", "lesion", float(assessed.sum()), "1")


def _r2star_of_brain(relaxation: MagnitudeResults, source: Source) -> dict[str, Any]:
    inside = relaxation.r2star_hz.data[relaxation.brain.data > 0]
    mean_hz = float(inside.mean(dtype=np.float64))
    return row("r2star_mean", "brain", mean_hz, "1/s", method="magnitude alone", source=source)


UNITS = {
    "field_noise_hz": "Hz",
    "field_noise_ppb": "ppb",
    "residual_rad": "rad",
    "csf_mm3": "mm3",
}
"""Of figures of the reconstruction; the others are counts and ratios."""


def _reconstruction(susceptibility: Susceptibility) -> Iterable[dict[str, Any]]:
    maps = susceptibility.maps
    figures = maps.quality | {"converged": float(maps.converged)}
    for name, value in figures.items():
        unit = UNITS.get(name, "1")
        yield row(f"qsm_{name}", "brain", value, unit, method="reconstruction")
