"""The page of one participant: what was found, how sure it is, and how to correct it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bids_qsmthal.bids.products import PRODUCTS, REPLACEABLE
from bids_qsmthal.core.decision import Decision
from bids_qsmthal.report import (
    acquisition,
    anatomy_figures,
    charts,
    citation,
    gre_figures,
    lesion_figures,
    numbers,
    scan_figures,
    words,
)
from bids_qsmthal.report.page import (
    Block,
    Figure,
    Listing,
    Notice,
    Origins,
    Page,
    Prose,
    Rating,
    Section,
    Table,
    Tile,
)
from bids_qsmthal.roi import ReferenceRegion

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bids_qsmthal.report.contents import LesionIronMaps, ParticipantReport

# The caption of the histogram states these numbers, too.
HISTOGRAM_PPB = (-100.0, 100.0)
READING = (
    "L and R (P and A) in the pictures are the participant's own sides. The window, from black to "
    "white, is stated below each picture; values beyond it are clipped. Slices are those of the "
    "scan, without interpolation. The coordinate is the middle of the slice in scanner "
    "coordinates (mm, RAS+). Click a picture to enlarge it."
)

FORMULA = (
    "Relative susceptibility is mean chi(thalamus) \N{MINUS SIGN} mean chi(reference), in ppb; the "
    "reference is {reference}. Larger values mean more paramagnetic tissue, that is, more iron."
)


READINGS = (
    "\n\nIn 95 people with relapsing-remitting multiple sclerosis Chiang et al. (2018) found "
    "\N{MINUS SIGN}29.0 ppb on average (SD 11.7, range \N{MINUS SIGN}61.5 to 6.4), "
    "and took larger values for more iron. That is this formula, thalamus \N{MINUS SIGN} CSF, "
    "which gives {value} here.\n\n"
    "Their sentence, \N{LEFT DOUBLE QUOTATION MARK}subtracting the mean susceptibility in the "
    "thalami from that in the CSF ROI\N{RIGHT DOUBLE QUOTATION MARK}, reads CSF \N{MINUS SIGN} "
    "thalamus, which gives {negated} here; larger values would then mean less iron. What either "
    "reading means for their tables is in the documentation, page docs/roi.md."
)
"""Both readings of the study's sentence, with the sign that each gives."""


def participant_page(report: ParticipantReport) -> Page:
    """Return the page; what is missing is left out and said so."""
    sections = (
        _regions(report),
        _checks(report),
        _susceptibility(report),
        _anatomy(report),
        _registrations(report),
        _lesions(report),
        *_atlases(report),
        _measures(report),
        _errors(report),
        _correction(report),
        citation.section(report.methods_run),
    )
    return Page(
        title=" ".join(p for p in (report.participant_id, report.session_id, report.run_id) if p),
        subtitle="Thalamic iron: susceptibility, volumes and lesions",
        summary=_tiles(report),
        verdict=report.verdict,
        sections=sections,
        warnings=(*report.warnings, *_missing(report)),
        versions=report.versions,
        links=report.links,
        among=report.among,
        facts=_facts(report),
        origins=Origins(command=report.command, inputs=report.inputs),
    )


def _facts(report: ParticipantReport) -> list[tuple[str, str]]:
    """Return the gradient echo in a few words, with the day of the scan where it is known."""
    day = [("Scanned on", report.scanned_on)] if report.scanned_on else []
    return [*day, *acquisition.box(report.methods_run)]


def _tiles(report: ParticipantReport) -> list[Tile]:
    """Return the numbers that were measured; that of iron has a place in any case."""
    find = Lookup(report.measures)
    value = find("chi_relative_csf", "thalamus", "LR")
    # A number against the whole brain must not pass for one against CSF.
    reference = "CSF" if _region(report) is not ReferenceRegion.BRAIN else "whole brain"
    note = f"thalamus \N{MINUS SIGN} {reference}, both sides{_interval_in_words(find, 'LR')}"
    by_side = {side: find("chi_relative_csf", "thalamus", side) for side in ("L", "R")}
    if not np.isfinite([value, *by_side.values()]).any():
        tiles = [Tile("Relative susceptibility", numbers.quantity(value, "ppb", 1), "not measured")]
    else:
        if report.verdict is not None and report.verdict.decision is Decision.EXCLUDE:
            note = f"excluded by quality control; {note}"
        tiles = [Tile("Relative susceptibility", numbers.quantity(value, "ppb", 1), note)]
        for side, name in (("L", "Left"), ("R", "Right")):
            note = f"relative susceptibility{_interval_in_words(find, side)}"
            text = numbers.quantity(by_side[side], "ppb", 1)
            tiles.append(Tile(f"{name} thalamus", text, note))
    for label, measure, region, unit, decimals, scale in (
        # Tables have mm3; 1e-3 makes mL of it.
        ("Thalamic volume", "volume", "thalamus", "mL", 2, 1e-3),
        ("Gray matter volume", "volume", "gray_matter", "mL", 0, 1e-3),
        ("Cortical thickness", "thickness_mean", "cortex", "mm", 2, 1.0),
    ):
        value = find(measure, region, "LR") * scale
        if not math.isnan(value):
            tiles.append(Tile(label, numbers.quantity(value, unit, decimals)))
    return [*tiles, *_lesion_tiles(find)]


def _interval(find: Lookup, side: str = "LR") -> tuple[float, float]:
    low, high = (find(f"chi_relative_csf_ci_{end}", "thalamus", side) for end in ("low", "high"))
    return low, high


def _interval_in_words(find: Lookup, side: str) -> str:
    low, high = _interval(find, side)
    if math.isnan(low):
        return ""
    return f"; 95 % interval {numbers.fixed(low, 1)} to {numbers.fixed(high, 1)} ppb"


def _lesion_tiles(find: Lookup) -> Iterator[Tile]:
    count = find("lesion_count", "lesion")
    volume_ml = find("volume", "lesion") * 1e-3
    note = "" if math.isnan(count) else f"{count:.0f} connected lesions"
    if not math.isnan(volume_ml):
        yield Tile("Lesion volume", numbers.quantity(volume_ml, "mL", 2), note)
    enhancing = find("enhancing_count", "enhancing")
    if not math.isnan(enhancing):
        yield Tile("Enhancing lesions", numbers.text(round(enhancing)))


class Lookup:
    """Finds numbers in a tidy table of measures."""

    def __init__(self, measures: pd.DataFrame | None) -> None:
        self.measures = measures

    def __call__(self, measure: str, region: str, hemisphere: str = "") -> float:
        """Return a value, NaN if it is not there.

        The row of the hemisphere is meant, else the one without any.
        """
        if self.measures is None:
            return math.nan
        table = self.measures
        rows = table[(table["measure"] == measure) & (table["region"] == region)]
        sides = rows["hemisphere"].fillna("n/a")
        # Two rows for one place say that the table is not ours: no number is better than either.
        for wanted in (sides == hemisphere, sides.isin(["n/a", ""])):
            if wanted.any():
                return float(rows["value"][wanted].iloc[0]) if wanted.sum() == 1 else math.nan
        return math.nan


def _regions(report: ParticipantReport) -> Section:
    blocks: list[Block | None] = [
        Prose(f"{_formula(report)}{_readings(report)}\n\n{READING}"),
        gre_figures.thalamus_on_chi(report.gre, report.regions),
        anatomy_figures.thalamus_on_t1w(report.anatomy),
        _histogram(report),
        *_sensitivity(report),
    ]
    return _section("The number", blocks)


REFERENCES = {
    ReferenceRegion.CIRCLES: "CSF in a circle in the atrium of each lateral ventricle",
    ReferenceRegion.ATRIA: "CSF in the atria of the lateral ventricles",
    ReferenceRegion.VENTRICLES: "CSF in the lateral ventricles",
    ReferenceRegion.GLOBAL_CSF: "CSF in the middle of the brain",
    ReferenceRegion.BRAIN: "the whole brain, which is no CSF",
    ReferenceRegion.EXTERNAL: "a mask of the user",
}
"""What the formula calls each region of the reference."""


def _region(report: ParticipantReport) -> ReferenceRegion | None:
    """Return where the reference lies; None where nothing was measured."""
    regions = report.methods_run.regions
    return None if regions is None else regions.reference.region


def _formula(report: ParticipantReport) -> str:
    """Say what the number is, or why there is none."""
    region = _region(report)
    if region is not None:
        return FORMULA.format(reference=REFERENCES[region])
    if report.gre.chi_ppm is None:
        return "The relative susceptibility was not measured: there is no susceptibility map."
    return (
        "The relative susceptibility was not measured: there is a susceptibility map, but without "
        "a T1w image or a segmentation the thalami and the CSF reference are not known."
    )


def _readings(report: ParticipantReport) -> str:
    """Return the number as either reading of the study's sentence has it."""
    value = Lookup(report.measures)("chi_relative_csf", "thalamus", "LR")
    # Neither reading of the study is about the whole brain.
    if math.isnan(value) or _region(report) is ReferenceRegion.BRAIN:
        return ""
    value_text, negated = (numbers.quantity(one, "ppb", 1) for one in (value, -value))
    return READINGS.format(value=value_text, negated=negated)


def _histogram(report: ParticipantReport) -> Figure | None:
    samples = {name: values for name, values in report.samples_ppb.items() if len(values)}
    if not samples:
        return None
    content = charts.histogram(samples, "susceptibility (ppb)", HISTOGRAM_PPB)
    return Figure(
        "Susceptibility in the regions",
        "Distribution over the voxels of each region, as the map has them (not yet relative to "
        "CSF); lines mark the means. Voxels of both signs count. "
        "Window: \N{MINUS SIGN}100 to 100 ppb.",
        f"Histograms of susceptibility in {', '.join(samples)}.",
        content,
        "svg",
        "desc-regions_histogram",
    )


def _sensitivity(report: ParticipantReport) -> list[Block]:
    """Show both thalami together in a chart, and every number in a table."""
    table = report.sensitivity
    if table is None or table.empty:
        return []
    both = table[table["hemisphere"] == "LR"]
    names = [
        variant if choice == variant else f"{choice}: {variant}"
        for choice, variant in zip(both["choice"], both["variant"], strict=True)
    ]
    low, high = _interval(Lookup(report.measures))
    # Only the number reported has an interval; the others share its errors.
    half_widths = np.full(len(both), np.nan)
    half_widths[0] = (high - low) / 2
    label = "relative susceptibility (ppb)"
    figure = Figure(
        "How the number changes with the choices",
        "The diamond is the number reported with its 95 % interval, which covers the noise of this "
        "scan and the error of the method; a second scan of the same person may differ by more "
        "(published limits of agreement: about 7 ppb to either side). Each dot changes one choice.",
        f"Relative susceptibility of both thalami under {', '.join(names)}.",
        charts.intervals(names, both["value"].to_numpy(float), half_widths, label),
        "svg",
        "desc-sensitivity_chart",
    )
    name = f"{report.stem}_desc-qsmthal_sensitivity"
    return [figure, Table("The number under other choices", table, "", name, folded=True)]


def _checks(report: ParticipantReport) -> Section:
    if report.quality is None or report.quality.empty:
        return Section("Quality control", (Prose("No check was made."),))
    table = Table(
        "Checks",
        report.quality,
        "Each check with its limit. The worst result is the verdict above; your own decision "
        "(below, Correct and rate) overrides it.",
        f"{report.stem}_desc-qsmthal_quality",
        status_column="verdict",
        shown=words.checks_table(report.quality),
    )
    return Section("Quality control", (table,))


def _susceptibility(report: ParticipantReport) -> Section:
    parameters = acquisition.table(report.methods_run)
    blocks: list[Block | None] = [
        None
        if parameters.empty
        else Table(
            "Acquisition and reconstruction",
            parameters,
            "What the consensus asks to report (doi 10.1002/mrm.30006); n/a: the sidecars are "
            "silent, or differ between echoes.",
            f"{report.stem}_desc-qsmthal_acquisition",
            folded=True,
        ),
        *(make(report.gre) for make in gre_figures.STAGES),
    ]
    alone = report.methods_run.magnitude is not None
    return _section("R2* mapping" if alone else "Susceptibility mapping", blocks)


def _anatomy(report: ParticipantReport) -> Section:
    maps = report.anatomy
    return _section("Anatomy", [make(maps) for make in anatomy_figures.STAGES])


def _registrations(report: ParticipantReport) -> Section:
    first = [] if report.template is None else [scan_figures.template(report.template)]
    others = [scan_figures.registration(pair) for pair in report.registrations]
    return _section("Registration", [*first, *others])


def _lesions(report: ParticipantReport) -> Section:
    brain = report.anatomy.brain
    made: list[Block | None] = [
        scan_figures.lesions(report.lesions, brain),
        scan_figures.enhancement(report.lesions, brain),
    ]
    if report.lesion_iron is not None:
        made += _lesion_iron(report, report.lesion_iron)
    return _section("Lesions", made)


RIMS = (
    "Lesions that have grown together are counted one by one here: {count} in all. A paramagnetic "
    "rim was found, or would have been seen, in {assessed} of them: those of {least_mm:.1f} mm and "
    "more that are thick enough for an inside beside the rim, where the map is good enough. "
    "Lesions with a rim: {present}. {shown}To change this, correct the mask of "
    "rims (Files to correct): erase a lesion that has no rim, or paint one that has. The next run "
    "takes the rims from your mask."
)


def _lesion_iron(report: ParticipantReport, iron: LesionIronMaps) -> list[Block | None]:
    """Return what is known of the iron in lesions; nothing where no lesion was found."""
    if iron.table.empty:
        return []
    shown = "The pictures below show every lesion with a probability of {:g} and more. "
    text = RIMS.format(
        assessed=iron.assessed,
        count=len(iron.table),
        least_mm=iron.least_mm,
        present=len(iron.rims),
        shown=shown.format(iron.shown_from) if iron.candidates else "",
    )
    return [
        lesion_figures.susceptibility_of_lesions(report.lesions, iron),
        Prose(text),
        lesion_figures.rim_gallery(report.lesions, iron),
        Table(
            "Lesions one by one",
            iron.table,
            "Susceptibility is relative to normal-appearing white matter (NAWM) and to the CSF "
            "reference. A rim would be seen from: its least susceptibility; n/a where none of up "
            "to 150 ppb would be seen. The saved file has more columns.",
            f"{report.stem}_desc-qsmthal_lesions",
            folded=True,
            shown=words.lesion_table(iron.table),
        ),
    ]


ATLAS = (
    "Each region of the atlas {name} was measured on the grid of T1w (volume, T2 lesions in it, "
    "thickness of cortex) and of the gradient echo (susceptibility and R2* without veins). n/a: "
    "fewer than ten voxels are left, or the scan is missing. Where regions overlap, as tracts do, "
    "each is measured completely; the picture shows the most probable one."
)


def _atlases(report: ParticipantReport) -> Iterator[Section]:
    """Yield a section for each atlas of the user."""
    for atlas in report.atlases:
        table = Table(
            f"Regions of {atlas.name}",
            atlas.table,
            "Units are in the names of the columns.",
            f"{report.stem}_desc-atlas{atlas.name}",
            folded=len(atlas.table) > 30,
        )
        figure = anatomy_figures.user_atlas(report.anatomy, atlas)
        blocks = [Prose(ATLAS.format(name=atlas.name)), figure, table]
        yield _section(f"Atlas {atlas.name}", blocks)


def _measures(report: ParticipantReport) -> Section:
    if report.measures is None:
        return Section("Measures", (Prose("No measure was made."),))
    wanted = ["measure", "region", "hemisphere", "value", "unit", "n_voxels", "n_lost", "method"]
    present = [name for name in (*wanted, "source", "qc") if name in report.measures]
    name = f"{report.stem}_desc-qsmthal_measures"
    kept = report.measures[present]
    blocks: list[Block] = [
        Table(
            "All measures",
            kept,
            "",
            name,
            folded=len(kept) > 30,
            shown=words.measures_table(kept),
        )
    ]
    if report.sources:
        rows = pd.DataFrame(list(report.sources.items()), columns=["what", "taken from"])
        blocks.append(
            Table("External results", rows, "Not computed here.", f"{report.stem}_sources")
        )
    if report.stages:
        rows = pd.DataFrame(list(report.stages), columns=["stage", "what became of it"])
        blocks.append(Table("Stages", rows, "In order.", f"{report.stem}_stages", folded=True))
    return Section("Measures", blocks)


def _errors(report: ParticipantReport) -> Section:
    """Say what could not be done, or that all was."""
    errors = [notice for notice in report.warnings if notice.level == "error"]
    if not errors:
        return Section("Errors", (Prose("None: every scan that was found was used."),))
    rows = [(notice.text, notice.action) for notice in errors]
    table = pd.DataFrame(rows, columns=["what failed", "what to do"])
    return Section("Errors", (Table("What failed", table, "", f"{report.stem}_errors"),))


def _correction(report: ParticipantReport) -> Section:
    blocks: list[Block] = [
        Prose(
            "If an outline is wrong, open the file in an editor such as ITK-SNAP or FSLeyes, "
            "correct it on its own grid, and save it under the same name below edits/ in the "
            "output folder. The next run uses it instead of its own result and remakes everything "
            "that depends on it, and only that."
        )
    ]
    name = f"{report.stem}_edits"
    blocks.append(Table("Files to correct", _correctable(report), "", name, folded=True))
    command = report.command or (
        "bids_qsmthal BIDS_DIR OUTPUT_DIR participant "
        f"--participant-label {report.participant_id.removeprefix('sub-')}\n"
        "bids_qsmthal BIDS_DIR OUTPUT_DIR group"
    )
    blocks.append(Listing("Run again", command))
    # Without any check nobody can propose to use the scan.
    proposed = Decision.CHECK if report.verdict is None else report.verdict.decision
    blocks.append(
        Rating(
            report.participant_id,
            report.session_id,
            report.run_id,
            proposed,
            f"{report.stem}_rating.tsv",
            "OUTPUT_DIR/edits/",
            words.ARTEFACTS,
        )
    )
    return Section("Correct and rate", blocks)


def _correctable(report: ParticipantReport) -> pd.DataFrame:
    """Return what may be corrected and where the corrected file goes."""
    folder = "/".join(part for part in (report.participant_id, report.session_id) if part)
    anatomy = folder.replace("/", "_")
    rows = []
    # The list of what edits/ takes, so that the page promises nothing that a run would not read.
    for key in REPLACEABLE:
        product = PRODUCTS[key]
        # Files made from T1w or FLAIR belong to the session, not to one gradient echo.
        begin = report.stem if product.space == "MEGRE" else anatomy
        place = f"OUTPUT_DIR/edits/{folder}/anat/{begin}_{product.ending}.nii.gz"
        rows.append((product.description.rstrip("."), place))
    return pd.DataFrame(rows, columns=["to correct", "save as"])


def _section(title: str, blocks: Sequence[Block | None]) -> Section:
    present = [block for block in blocks if block is not None]
    return Section(title, present or (Prose("Nothing to show: the input for this is missing."),))


def _missing(report: ParticipantReport) -> list[Notice]:
    """Say which kinds of image were not there, and what is missing for it."""
    absent = (
        (report.gre.chi_ppm, "no susceptibility map", "there is no number for iron"),
        (report.anatomy.t1w, "no T1-weighted image", "there are no volumes and no thickness"),
        (report.lesions.flair, "no FLAIR image", "lesions were not segmented"),
        (
            report.lesions.ce_t1w,
            "no T1-weighted image after contrast agent",
            "enhancing lesions were not looked for",
        ),
    )
    return [
        Notice(f"This page has {what}: {so}.", level="note")
        for image, what, so in absent
        if image is None
    ]
