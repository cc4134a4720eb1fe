"""Images, transforms and tables of a participant to their places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from bids_qsmthal.anatomy import atlas, fields, itk_affine_text
from bids_qsmthal.bids import protocol
from bids_qsmthal.bids.derivatives import raw_uri
from bids_qsmthal.bids.products import of_atlas
from bids_qsmthal.bids.provenance import plain
from bids_qsmthal.core.files import write_json, write_text, write_tsv
from bids_qsmthal.core.nifti import MNI_CODE, save_field
from bids_qsmthal.participant import (
    dictionaries,
    image_methods,
    label_tables,
    lesion_iron,
    lesion_regions,
    quality,
)
from bids_qsmthal.participant.measures import DICTIONARY
from bids_qsmthal.participant.relaxation import MagnitudeResults
from bids_qsmthal.participant.separated import provenance
from bids_qsmthal.report import acquisition, sentences

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from bids_qsmthal.anatomy import Prepared, Rigid
    from bids_qsmthal.bids.dataset import Session
    from bids_qsmthal.bids.derivatives import Derivatives
    from bids_qsmthal.core.image import Image
    from bids_qsmthal.participant.atlas_regions import MeasuredAtlas
    from bids_qsmthal.participant.gre_signal import Signal
    from bids_qsmthal.participant.image_methods import Methods
    from bids_qsmthal.participant.lesion_iron import MeasuredLesions
    from bids_qsmthal.participant.structural import Structural
    from bids_qsmthal.participant.susceptibility import Susceptibility
    from bids_qsmthal.qsm import Maps
    from bids_qsmthal.qsm.scaling import Scale
    from bids_qsmthal.report import MethodsRun
    from bids_qsmthal.roi import RegionResults
    from bids_qsmthal.settings import Settings

Content = tuple[str, "Image | None", "type[np.generic]"]
"""Key of the product, the image, and the type it is stored in."""


def save_structural(
    session: Session, structural: Structural, settings: Settings, out: Derivatives
) -> None:
    """Save what was made from T1w, FLAIR and post-contrast T1w."""
    sources = _uris(session, (session.t1w, *session.inversions, session.flair))
    how = image_methods.with_makers(image_methods.structural(settings), structural.sources)
    segmented = structural.anatomy
    contents: list[Content] = []
    if segmented is not None:
        contents += [
            ("t1w", segmented.t1w, np.float32),
            ("brain", segmented.brain, np.uint8),
            # The smallest type that holds the labels; BIDS wants integers in label images.
            ("tissue", segmented.tissue, np.uint8),
            ("gm", segmented.gm, np.float32),
            ("wm", segmented.wm, np.float32),
            ("csf", segmented.csf, np.float32),
            ("deepgray", segmented.deepgray, np.int16),
            ("nuclei", segmented.nuclei, np.int16),
            ("small_nuclei", segmented.small_nuclei, np.uint8),
            ("thickness", structural.thickness_mm, np.float32),
        ]
        out.save_labels("tissue", label_tables.tissue())
        out.save_labels("deepgray", label_tables.deep_gray(segmented.deepgray))
        out.save_labels("nuclei", label_tables.of_names(segmented.nuclei_names))
        out.save_labels("small_nuclei", label_tables.of_names(segmented.small_nuclei_names))
    for contents_now in (contents, _lesion_contents(structural)):
        _save_all(contents_now, sources, how, out)
    if structural.enhancement is not None:
        ce = _uris(session, (session.t1w, session.t1w_gad))
        _save_all([("enhancing", structural.enhancement.mask, np.uint8)], ce, how, out)
    for label, lesions in (("lesion", structural.lesions), ("enhancing", structural.enhancement)):
        if lesions is not None:
            write_tsv(out.path(f"label-{label}_lesions", ".tsv", space="T1w"), lesions.table)
            described = dictionaries.lesions(lesions.table.columns)
            write_json(out.path(f"label-{label}_lesions", ".json", space="T1w"), described)
    for name, rigid in (("FLAIR", structural.flair_to_t1w), ("ceT1w", structural.ce_to_t1w)):
        save_rigid(name, rigid, out, space="T1w")
    save_warp(structural.prepared, out)


def save_gradient_echo(
    session: Session,
    gre: Susceptibility | MagnitudeResults | None,
    structural: Structural,
    settings: Settings,
    out: Derivatives,
) -> None:
    """Save what was made from the gradient echo, whatever its parts."""
    if gre is None:
        return
    makers = structural.sources
    methods = image_methods.with_makers(image_methods.gradient_echo(settings), makers)
    if isinstance(gre, MagnitudeResults):
        save_relaxation(session, gre, methods, out)
    else:
        if gre.separated is not None:
            how = {"Separation": provenance(settings.separation, gre.separated.r2)}
            methods |= {key: methods[key] | how for key in ("paramagnetic", "diamagnetic")}
        save_susceptibility(session, gre, methods, out)
        rules = image_methods.with_makers(image_methods.regions(settings), makers)
        # Without a mask of lesions that on the scan is empty, which would look like a finding.
        unknown = frozenset() if structural.lesion_mask is not None else frozenset({"lesions"})
        _save_regions(gre, rules, _uris(session, gre.signal.series.paths), out, unknown=unknown)
        if gre.lesions is not None:
            _save_lesions(session, gre.lesions, rules, out)


def save_relaxation(
    session: Session, relaxation: MagnitudeResults, methods: Methods, out: Derivatives
) -> None:
    """Save what was made from a gradient echo of magnitude alone."""
    series = relaxation.signal.series
    contents: list[Content] = [
        ("r2star", relaxation.r2star_hz, np.float32),
        ("t2star", relaxation.r2star_hz.like(_t2star_s(relaxation.r2star_hz.data)), np.float32),
        ("brain_gre", relaxation.brain, np.uint8),
    ]
    scan = {
        "Acquisition": plain(series.acquisition),
        "Protocol": plain(protocol.read(series)),
        "Warnings": [sentences.sentence(one) for one in relaxation.signal.warnings],
    }
    methods = image_methods.on_scan(methods, scan)
    _save_all(contents, _uris(session, series.paths), methods, out)
    save_rigid("MEGRE", relaxation.to_t1w, out, space="MEGRE")


def _t2star_s(r2star_hz: np.ndarray) -> np.ndarray:
    """Return T2*: zero, not infinity, where nothing decays or nothing was fitted."""
    t2star_s: np.ndarray = np.divide(
        1, r2star_hz, out=np.zeros_like(r2star_hz), where=r2star_hz > 0
    )
    return t2star_s


def save_susceptibility(
    session: Session, susceptibility: Susceptibility, methods: Methods, out: Derivatives
) -> None:
    """Save what was made from the gradient echo."""
    maps, image = susceptibility.maps, susceptibility.image
    contents: list[Content] = [
        ("r2star", image(maps.r2star_hz), np.float32),
        ("t2star", image(_t2star_s(maps.r2star_hz)), np.float32),
        ("local_field", image(maps.local_field_hz), np.float32),
        ("total_field", image(maps.total_field_hz), np.float32),
        ("noise", image(maps.noise), np.float32),
        ("brain_gre", susceptibility.brain, np.uint8),
        ("qsm_mask", image(maps.mask), np.uint8),
    ]
    scan = {
        "Acquisition": plain(susceptibility.signal.series.acquisition),
        "Protocol": plain(protocol.read(susceptibility.signal.series)),
        "MainField": {
            "VoxelAxes": list(susceptibility.combined.grid.b0_direction),
            "Source": susceptibility.signal.series.b0.source,
        },
        "Phase": _phase(susceptibility.signal),
        "Converged": maps.converged,
    }
    methods = image_methods.on_scan(methods, scan)
    methods["chi"]["Zero"] = _zero(maps, susceptibility.regions)
    sources = _uris(session, susceptibility.signal.series.paths)
    if len(susceptibility.signal.series.first) == 1:
        # With one echo these maps are zero everywhere, which would look like a measurement.
        contents = [item for item in contents if item[0] not in {"r2star", "t2star"}]
    chi: Content = ("chi", image(maps.chi_ppm), np.float32)
    _save_all([chi, *contents], sources, methods, out)
    if susceptibility.separated is not None:
        apart = susceptibility.separated.sources
        maps_apart: list[Content] = [
            ("paramagnetic", image(apart.paramagnetic_ppm), np.float32),
            ("diamagnetic", image(apart.diamagnetic_ppm), np.float32),
        ]
        _save_all(maps_apart, sources, methods, out)
    save_rigid("MEGRE", susceptibility.to_t1w, out, space="MEGRE")


def _save_lesions(
    session: Session, measured: MeasuredLesions, methods: Methods, out: Derivatives
) -> None:
    """Save the lesions one by one: their labels, those with a rim, and their table."""
    structural = _uris(session, (session.t1w, *session.inversions, session.flair))
    echoes = _uris(session, session.gre.paths) if session.gre is not None else []
    names = {int(number): f"lesion_{number}" for number in measured.table["id"]}
    for key, image, sources in (
        ("lesion_labels", measured.distinct.labels, structural),
        ("lesion_labels_gre", measured.iron.labels, [*echoes, *structural]),
    ):
        _save_all([(key, image, np.int16)], sources, {}, out)
        out.save_labels(key, label_tables.of_names(names))
    found = {"rim": methods["rim"] | {"RimsBy": str(measured.rim_source)}}
    _save_all([("rim", measured.rims, np.uint8)], [*echoes, *structural], found, out)
    write_tsv(out.path("desc-qsmthal_lesions", ".tsv"), measured.table)
    write_json(out.path("desc-qsmthal_lesions", ".json"), dict(lesion_iron.DICTIONARY))


def save_atlases(
    session: Session,
    atlases: Sequence[MeasuredAtlas],
    scan: Susceptibility | None,
    out: Derivatives,
) -> None:
    """Save the regions of the user's atlases on the grid of T1w, with their names.

    With distinct lesions also which of them lie in which region.
    """
    sources = _uris(session, (session.t1w, *session.inversions))
    for one in atlases:
        product, how = of_atlas(one.atlas.name), {"AtlasFile": one.atlas.file_name}
        method = how | {"Space": one.space, "Regions": one.method}
        out.save(product, one.carried.labels, sources=sources, method=method, dtype=np.int32)
        out.save_labels(product, label_tables.of_names(one.atlas.names, one.atlas.colors))
    if atlases and scan is not None and scan.lesions is not None:
        table = lesion_regions.lesion_regions(scan.lesions.distinct.labels, atlases)
        write_tsv(out.path("desc-atlases_lesions", ".tsv"), table)
        write_json(out.path("desc-atlases_lesions", ".json"), dict(lesion_regions.DICTIONARY))


def _zero(maps: Maps, regions: RegionResults | None) -> dict[str, str | float]:
    """Return where the zero of a map of susceptibility lies."""

    def mean_ppb(mask: np.ndarray) -> float:
        return round(1000 * float(maps.chi_ppm[mask].mean(dtype=np.float64)), 3)

    found: dict[str, str | float] = {"Description": sentences.ZERO_OF_THE_MAP}
    if maps.mask.any():
        found["MeanOfMask_ppb"] = mean_ppb(maps.mask)
    if regions is not None and (reference := regions.masks["reference"].data > 0).any():
        found["MeanOfReference_ppb"] = mean_ppb(reference)
    return found


def _phase(signal: Signal) -> dict[str, Any] | None:
    """Return what was done to the phase, its warnings in words; None where there is none."""
    if signal.report is None:
        return None
    doubt = None if signal.scale is None else signal.scale.warning
    warnings = [*signal.report.warnings, *([] if doubt is None else [doubt])]
    scale = None if signal.scale is None else _scale(signal.scale)
    said = {"warnings": [sentences.sentence(one) for one in warnings], "scale": scale}
    return signal.report._asdict() | said


def _scale(scale: Scale) -> dict[str, Any]:
    """Return how the stored values of the phase became radians."""
    return {
        "Description": "Number of stored values in one turn (2 pi rad); the shift is added after "
        "scaling. The source is where the scale was found.",
        "turn_stored_values": scale.turn,
        "shift_rad": scale.shift_rad,
        "source": scale.source,
    }


def save_tables(
    table: pd.DataFrame, checks: pd.DataFrame, run: MethodsRun, out: Derivatives
) -> None:
    """Save the measures with their dictionary, what was checked, and how the scan was made."""
    if run.scan is not None or run.magnitude is not None:
        # The group level compares it between scans.
        write_tsv(out.path("desc-qsmthal_acquisition", ".tsv"), _filled(acquisition.table(run)))
        write_json(out.path("desc-qsmthal_acquisition", ".json"), dict(dictionaries.ACQUISITION))
    if not checks.empty:
        write_tsv(out.path("desc-qsmthal_quality", ".tsv"), _filled(checks))
        write_json(out.path("desc-qsmthal_quality", ".json"), dict(quality.DICTIONARY))
    write_tsv(out.path("desc-qsmthal_measures", ".tsv"), table)
    write_json(out.path("desc-qsmthal_measures", ".json"), DICTIONARY)


def _filled(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table for a file, where BIDS wants n/a in empty cells."""
    return table.replace({"": float("nan")})


def _save_regions(
    susceptibility: Susceptibility,
    methods: Methods,
    sources: Sequence[str],
    out: Derivatives,
    *,
    unknown: frozenset[str],
) -> None:
    """Save the masks on the scan but for those whose content nobody knows."""
    regions = susceptibility.regions
    if regions is None:
        return
    masks = {name: mask for name, mask in regions.masks.items() if name not in unknown}
    contents: list[Content] = [
        ("deepgray_gre", masks.get("deepgray"), np.int16),
        ("thalamus", masks["thalamus"], np.uint8),
        ("thalamus_mask", binary(masks["thalamus"]), np.uint8),
        ("csf_reference", binary(masks["reference"]), np.uint8),
        ("vein", masks["veins"], np.uint8),
        ("lesion_gre", masks.get("lesions"), np.uint8),
        ("nuclei_gre", masks.get("nuclei"), np.int16),
        ("small_nuclei_gre", masks.get("small_nuclei"), np.uint8),
    ]
    # Whoever made the labels made the mask.
    _save_all(contents, sources, {**methods, "thalamus_mask": methods.get("thalamus", {})}, out)
    out.save_labels("thalamus", label_tables.thalami())
    if "deepgray" in masks:
        out.save_labels("deepgray_gre", label_tables.deep_gray(masks["deepgray"]))
    if "nuclei" in masks:
        out.save_labels("nuclei_gre", label_tables.of_names(susceptibility.nuclei_names))
    if "small_nuclei" in masks:
        small = label_tables.of_names(susceptibility.small_nuclei_names)
        out.save_labels("small_nuclei_gre", small)
    write_tsv(out.path("desc-qsmthal_sensitivity", ".tsv"), regions.sensitivity)
    write_json(out.path("desc-qsmthal_sensitivity", ".json"), dict(dictionaries.SENSITIVITY))


def binary(labels: Image) -> Image:
    """Return the mask of labels of both sides: masks of BIDS are 0 and 1."""
    return labels.like((labels.data > 0).astype(np.uint8))


def _lesion_contents(structural: Structural) -> list[Content]:
    contents: list[Content] = []
    space = "lesion" if structural.t1w is not None else "lesion_flair"
    contents.append((space, structural.lesion_mask, np.uint8))
    if structural.lesions is not None and structural.t1w is not None:
        contents.append(("lesion_probability", structural.lesions.probability, np.float32))
        contents.append(("lesion_flair", structural.lesions.mask_flair, np.uint8))
    return contents


def _save_all(
    contents: Iterable[Content],
    sources: Sequence[str],
    methods: Methods,
    out: Derivatives,
) -> None:
    for key, image, dtype in contents:
        if image is not None:
            how = methods.get(key, {})
            out.save(key, image, sources=sources, method=how, dtype=dtype)


def save_rigid(name: str, rigid: Rigid | None, out: Derivatives, *, space: str) -> None:
    """Save a rigid motion in ITK's text form, both ways.

    ITK moves an image with the map of points that goes the other way: from the target's world.
    """
    if rigid is None:
        return
    both = {
        (name, "T1w"): np.linalg.inv(rigid.matrix).astype(np.float64),
        ("T1w", name): rigid.matrix,
    }
    checks = {
        **rigid.quality,
        "failed": rigid.failed,
        "warnings": [sentences.sentence(warning) for warning in rigid.warnings],
    }
    for (source, target), matrix in both.items():
        ending = _xfm(source, target)
        write_text(out.path(ending, ".txt", space=space), itk_affine_text(matrix))
        _save_xfm_sidecar(source, target, "rigid", checks, out.path(ending, ".json", space=space))


def save_warp(prepared: Prepared | None, out: Derivatives) -> None:
    """Save the way to the template and back, each as one displacement field with all parts."""
    if prepared is None or prepared.to_template.inverse_mm is None:
        return
    both = fields(prepared.to_template, prepared.t1w, atlas.template("T1w"))
    ways = (("T1w", atlas.SPACE), (atlas.SPACE, "T1w"))
    for (source, target), field in zip(ways, both, strict=True):
        ending = _xfm(source, target)
        # A field lies on the grid of its target.
        code = out.code("T1w") if target == "T1w" else MNI_CODE
        save_field(field, out.path(ending, ".nii.gz", space="T1w"), code=code)
        place = out.path(ending, ".json", space="T1w")
        _save_xfm_sidecar(source, target, "affine and deformation", prepared.quality, place)


XFM_QUALITY: Final = {
    "information": "normalised mutual information of both scans, 1 (none) to 2; no unit",
    "information_start": "the same before the registration",
    "sharpness": "smallest share of information - 1 that is lost when the result is shifted; no "
    "unit",
    "overlap": "share of the moving brain that lies in the brain of the other scan",
    "shift_mm": "how far the middle of the moving brain moved",
    "rotation_deg": "angle of the rotation",
    "brain_volume_ml": "volume of the brain in T1w",
    "template_correlation": "correlation of T1w and the deformed template in the brain, -1 to 1",
}
"""What the figures of a registration mean, and their units."""


def _xfm(source: str, target: str) -> str:
    return f"from-{source}_to-{target}_mode-image_xfm"


def _save_xfm_sidecar(
    source: str, target: str, kind: str, quality: Mapping[str, Any], path: Path
) -> None:
    content = {
        "Description": f"Resamples an image of {source} onto {target}: maps points of {target} "
        f"to points of {source}, as ITK and ANTs expect it.",
        "From": source,
        "To": target,
        "Transform": kind,
        "Format": "ITK (points in LPS, mm)",
        "Quality": plain(quality),
        "QualityMeanings": {name: said for name, said in XFM_QUALITY.items() if name in quality},
    }
    write_json(path, content)


def _uris(session: Session, paths: Iterable[Path | None]) -> list[str]:
    return [raw_uri(path, session.root) for path in paths if path is not None]
