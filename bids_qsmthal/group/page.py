"""The page of the group level: who was studied, the tables in words and numbers, the figures."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from bids_qsmthal.core.decision import Decision
from bids_qsmthal.core.digits import count
from bids_qsmthal.core.files import write_text, write_whole
from bids_qsmthal.group import (
    acquisitions,
    flow,
    interpretation,
    labels,
    lesion_iron,
    methods_text,
    overview,
    pictures,
    printing,
    questionable,
    site_forest,
    strobe,
    study_sections,
)
from bids_qsmthal.group.assembly import Cohort
from bids_qsmthal.group.fitting import Results
from bids_qsmthal.group.flow import FlowStep
from bids_qsmthal.report import MethodsRun, citation
from bids_qsmthal.report.page import (
    Block,
    Figure,
    Notice,
    Page,
    Prose,
    Section,
    Table,
    Tile,
    render,
)
from bids_qsmthal.statistics import cohort as summary
from bids_qsmthal.statistics import tables
from bids_qsmthal.statistics.analysis import Analysis
from bids_qsmthal.statistics.resampling import Resampling
from bids_qsmthal.statistics.tables import ModelTable as Wanted

NAME = "group.html"

MANY_SCANS = 500
"""Above this only the reports of doubtful and excluded participants are linked."""


def write(
    folder: Path, analysis: Analysis, cohort: Cohort, results: Results, how: Resampling
) -> Path:
    """Write ``group.html``, each figure beside it, and the overview of quality."""
    page = make(analysis, cohort, results, how)
    for section in page.sections:
        for block in section.blocks:
            for name, content in block.files.items() if isinstance(block, Figure) else ():
                write_whole(folder / "figures" / name, content)
    overview.write(folder, cohort.overview)
    path = folder / NAME
    write_text(path, render(page))
    return path


def make(analysis: Analysis, cohort: Cohort, results: Results, how: Resampling) -> Page:
    """Return the page as a value."""
    concerns = [*cohort.concerns, *results.concerns]
    sections = [
        Section("Who is in the analysis", _flow(cohort, results)),
        Section("Cohort", _cohort(results)),
        *[Section(_heading(t.name), _table(t, analysis, results)) for t in analysis.tables],
        *study_sections.make(analysis, results.evidence, results.published),
        *_direction(analysis, results),
        *_further(analysis, cohort, results),
        *_visit_changes(cohort, results),
        *_lesions(cohort),
        Section("Sensitivity to choices", _sensitivity(analysis, cohort, results)),
        Section("Normality", _normality(analysis, results)),
        Section("Diagnostics of the models", _diagnostics(results)),
        Section("Power", _power(results)),
        Section(
            "All models", [Table("All coefficients", results.models, name="models", folded=True)]
        ),
        Section("STROBE checklist", _strobe(analysis, results)),
        citation.section(methods_that_ran(analysis, results, how)),
    ]
    return Page(
        title="Group report",
        subtitle=f"Analysis {analysis.name}. {analysis.description}",
        summary=_tiles(cohort, results),
        sections=sections,
        warnings=[Notice(concern.text, concern.advice) for concern in concerns],
        links=_links(cohort),
    )


def _direction(analysis: Analysis, results: Results) -> list[Section]:
    """Return the paragraph on the sign of the number, where the analysis has that number."""
    text = interpretation.read_direction(analysis, results.analysed, results.tables)
    return [Section("Direction of the number", [Prose(text)])] if text else []


def methods_that_ran(analysis: Analysis, results: Results, how: Resampling) -> MethodsRun:
    """Return what ran, for the methods text."""
    texts = methods_text.describe(analysis, results, how)
    return MethodsRun(analysis=analysis.name, group_texts=texts)


def _visit_changes(cohort: Cohort, results: Results) -> list[Section]:
    """Return the section on change between visits that were compared with each other."""
    if results.annual_change.empty:
        return []
    models: list[Block] = []
    if len(results.change):
        models = [Table("Models of change", results.change, name="change_models")]
    return [
        Section(
            "Change between visits",
            [
                *pictures.visit_changes_of(cohort, results),
                Prose(interpretation.read_visit_changes(results.annual_change)),
                *models,
                Table(
                    "Mean change in a year",
                    results.annual_change,
                    caption="Change of each participant from the first usable visit to the last, "
                    "measured in their images together; random-effects mean by the standard error "
                    "of each. Visits whose T1w differ in voxel size are not compared in volume or "
                    "thickness.",
                    name="annual_change",
                    folded=True,
                ),
                Table(
                    "Reliable change of each participant",
                    results.each_change,
                    caption="Reliable: the 95% interval of the participant's own change leaves out "
                    "zero (Jacobson & Truax 1991, doi 10.1037/0022-006X.59.1.12).",
                    name="each_change",
                    folded=True,
                ),
            ],
        )
    ]


def _lesions(cohort: Cohort) -> list[Section]:
    """Return the section on single lesions, where any contrast of theirs is known."""
    summary = lesion_iron.table(cohort.lesions)
    if summary.empty:
        return []
    return [
        Section(
            "Susceptibility of single lesions",
            [
                pictures.lesions_of(cohort),
                Prose(lesion_iron.read(summary)),
                Table(
                    "Kinds of lesions",
                    summary,
                    caption=f"Lesions of {lesion_iron.LEAST_MM:g} mm and more: smaller ones share "
                    "their voxels with white matter. For each participant the mean over the "
                    "lesions, minus normal-appearing white matter; then the mean over "
                    "participants. Differences are within participants who have both kinds. "
                    "Enhancing: any part of the lesion takes up contrast agent.",
                    name="lesions",
                ),
            ],
        )
    ]


def _strobe(analysis: Analysis, results: Results) -> list[Block]:
    return [
        Table(
            "STROBE checklist, filled with what this run knows",
            strobe.checklist(analysis, results),
            caption="von Elm et al. 2007, doi 10.1016/S0140-6736(07)61602-X.",
            name="strobe",
            folded=True,
            links=printing.links("strobe"),
        )
    ]


def _links(cohort: Cohort) -> list[tuple[str, str]]:
    """Return the tables beside the page, then the report of each scan."""
    tables_beside = [(name, name) for name in ("measures.tsv", "models.tsv", "exclusions.tsv")]
    scans = [scan for scans in cohort.scans.values() for scan in scans]
    if len(scans) > MANY_SCANS:
        doubtful = cohort.exclusions[cohort.exclusions["decision"] != Decision.INCLUDE]
        scans = [
            scan
            for who in dict.fromkeys(doubtful["participant_id"])
            for scan in cohort.scans.get(who, [])
            # A browser has to lay out each link; exclusions.tsv beside the page has them all.
        ][:MANY_SCANS]
    every = ("Quality of all scans", overview.NAME)
    return [every, *tables_beside, *((scan, f"../{scan}.html") for scan in scans)]


def _heading(name: str) -> str:
    """Return ``Table 1`` for ``table1``."""
    return re.sub(r"(\D)(\d+)$", r"\1 \2", name).replace("_", " ").capitalize()


def _cohort(results: Results) -> list[Block]:
    return [
        Table(
            "Characteristics",
            summary.printed(results.cohort, labels.UNITS),
            name="cohort_printed",
            links=printing.links("cohort"),
        ),
        Table("Cohort in full", results.cohort, name="cohort", folded=True),
    ]


def _tiles(cohort: Cohort, results: Results) -> list[Tile]:
    left_out = cohort.n_found - len(cohort.frame)
    fitted = sum(fit.fitted for fit in results.fits.values())
    return [
        Tile(
            "Participants",
            f"{count(len(cohort.frame))}",
            f"of {count(cohort.n_found)} with results",
        ),
        Tile("Left out", f"{count(left_out)}", "reasons below"),
        Tile("Models fitted", f"{fitted} of {len(results.fits)}"),
    ]


def _flow(cohort: Cohort, results: Results) -> list[Block]:
    of_models = [line for line in results.flow if line.step == FlowStep.MODEL]
    of_cohort = [line for line in results.flow if line.step != FlowStep.MODEL]
    remarkable = cohort.exclusions[cohort.exclusions["decision"] != Decision.INCLUDE]
    return [
        pictures.flow_of(results),
        Table("From dataset to analysis", flow.table(of_cohort), name="flow"),
        Table("Participants of each model", flow.table(of_models), name="flow_models", folded=True),
        Table(
            "Doubtful and excluded",
            remarkable,
            caption="To overrule one, rate the scan at the end of its report and save the file "
            "into edits/, or copy group/exclusions.tsv to edits/exclusions.tsv, change "
            "the decision there and run the group level again.",
            name="exclusions",
            status_column="decision",
            folded=True,
        ),
        *_disagreements(cohort),
        *_readers(cohort),
        *_questionable(cohort),
        *_acquisitions(cohort),
    ]


def _questionable(cohort: Cohort) -> list[Block]:
    if not cohort.questionable:
        return []
    return [
        Table(
            "Questionable values",
            questionable.table(cohort.questionable),
            caption="Values of the tables that cannot be read or cannot be true, and measures "
            "that nobody has. Those that are not used count as missing.",
            name="questionable",
        )
    ]


def _acquisitions(cohort: Cohort) -> list[Block]:
    if cohort.acquisitions.empty:
        return []
    different = acquisitions.differing(cohort.acquisitions)
    if different.empty:
        return [Prose("All scans agree in acquisition and reconstruction (acquisition.tsv).")]
    return [
        Table(
            "Acquisition and reconstruction: who differs",
            different,
            caption="Parameters that are not the same in all scans; acquisition.tsv has the "
            "others, too. Compare with care the numbers of scans that differ in field, echoes or "
            "voxels, or that were reconstructed differently.",
            name="acquisition",
        )
    ]


def _disagreements(cohort: Cohort) -> list[Block]:
    if cohort.disagreements.empty:
        return []
    return [
        Table(
            "Where tables and images disagree",
            cohort.disagreements,
            caption="The table is what is analysed. Look at the images of these participants: "
            "either the table is wrong, or the segmentation missed a lesion or found a false one.",
            name="disagreements",
        )
    ]


def _readers(cohort: Cohort) -> list[Block]:
    if cohort.readers.empty:
        return []
    return [
        Table(
            "Agreement of readers",
            cohort.readers,
            caption="Each pair of readers who corrected or rated the same scans; the latest "
            "version of each is used. Dice: mean overlap; ICC(2,1) of Shrout & Fleiss (1979); "
            "Cohen's kappa. If a reader began with the other's correction, agreement is "
            "overestimated.",
            name="readers",
        )
    ]


def _table(wanted: Wanted, analysis: Analysis, results: Results) -> list[Block]:
    numbers = results.tables[wanted.name]
    blocks: list[Block] = [
        Table(
            wanted.title,
            _narrow(tables.printed(wanted, numbers)),
            caption=f"{wanted.description} * p < .05, not corrected for several tests.",
            name=f"{wanted.name}_printed",
            links=printing.links(wanted.name),
        ),
        Prose(interpretation.read_table(wanted, numbers, analysis)),
        Table(f"{_heading(wanted.name)} in full precision", numbers, name=wanted.name, folded=True),
    ]
    blocks[1:1] = pictures.forest_of(wanted, _heading(wanted.name), results)
    drawn = pictures.of_models(wanted, _heading(wanted.name), analysis, results)
    if not drawn:
        blocks.append(Prose("There are too few participants for figures of the models."))
    return [*blocks, *drawn]


def _narrow(printed: pd.DataFrame) -> pd.DataFrame:
    """Return a printed table with each interval behind its coefficient, to fit a screen."""
    # A blank and not an empty name: the page needs a header cell.
    made = {" ": printed[""]}
    for side in (name.capitalize() for name in tables.SIDES):
        if f"{side} p" in printed:
            both = printed[f"{side} coefficient"] + " (" + printed[f"{side} 95% CI"] + ")"
            made[f"{side} (95% CI)"] = both.str.replace("n/a (n/a)", "n/a", regex=False)
            made[f"{side} p"] = printed[f"{side} p"]
            made[f"{side} n"] = printed[f"{side} n"]
    return pd.DataFrame(made)


def _sensitivity(analysis: Analysis, cohort: Cohort, results: Results) -> list[Block]:
    return [
        *_choices(cohort),
        Prose(interpretation.read_sensitivity(results.sensitivity, analysis)),
        *pictures.specifications(analysis, results),
        Table("All specifications", results.sensitivity, name="sensitivity", folded=True),
    ]


def _choices(cohort: Cohort) -> list[Block]:
    figure = pictures.choices_of(cohort)
    table = Table("How choices move the number", cohort.choices, name="choices", folded=True)
    return [*figure, table] if figure else []


def _further(analysis: Analysis, cohort: Cohort, results: Results) -> list[Section]:
    """Return the sections that only some analyses have."""
    parts = [
        ("Change over time", results.longitudinal, "longitudinal"),
        ("Each site, and all together", results.sites, "sites"),
        ("Missing values filled", results.imputation, "imputation"),
        ("Mediation", results.mediation, "mediation"),
        ("Harmonisation across sites", cohort.harmonised, "harmonisation"),
    ]
    drawn = {
        "longitudinal": pictures.changes_of(analysis, cohort, results),
        "sites": pictures.sites_of(analysis, results),
    }
    more = {"longitudinal": _reliable_change(results)}
    return [
        Section(
            title,
            [*drawn.get(name, ()), _detail(title, frame, name, analysis), *more.get(name, ())],
        )
        for title, frame, name in parts
        if len(frame)
    ]


def _reliable_change(results: Results) -> list[Block]:
    """Return who changed beyond the scatter of their sessions, in words and as a table."""
    rows = results.reliable_change
    if rows.empty:
        return []
    return [
        Prose(interpretation.read_reliable_change(rows)),
        Table(
            "Change of each participant",
            rows,
            caption="From the first session to the last. Index: change divided by its standard "
            "error, the root of 2 times the standard deviation of the model's residuals (Jacobson "
            "& Truax 1991, doi 10.1037/0022-006X.59.1.12).",
            name="reliable_change",
            folded=True,
        ),
    ]


def _detail(title: str, frame: pd.DataFrame, name: str, analysis: Analysis) -> Table:
    if name != "sites":
        return Table(title, frame, name=name)
    return Table(
        title,
        site_forest.printed(frame, analysis),
        caption=site_forest.NOTE,
        name="sites_printed",
        links=printing.links("sites"),
    )


def _normality(analysis: Analysis, results: Results) -> list[Block]:
    return [
        Prose(interpretation.read_normality(results.normality, analysis)),
        Table("Ladder of powers", results.normality, name="normality", folded=True),
        *pictures.normality_of(analysis, results),
    ]


def _diagnostics(results: Results) -> list[Block]:
    return [
        Prose(interpretation.read_diagnostics(results.diagnostics)),
        Table("Diagnostics", results.diagnostics, name="diagnostics", folded=True),
    ]


def _power(results: Results) -> list[Block]:
    return [
        Prose(interpretation.read_power(results.power)),
        Table("Power", results.power, name="power", folded=True),
    ]
