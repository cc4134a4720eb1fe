"""The tables of the group level, each with its dictionary, and their printed forms."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from bids_qsmthal.core.files import write_json, write_tsv
from bids_qsmthal.group import (
    dictionary,
    flow,
    labels,
    lesion_iron,
    printing,
    questionable,
    site_forest,
    strobe,
    study_sections,
)
from bids_qsmthal.group.assembly import Cohort
from bids_qsmthal.group.fitting import Results
from bids_qsmthal.group.printing import PrintedTable
from bids_qsmthal.statistics import cohort as summary
from bids_qsmthal.statistics import tables
from bids_qsmthal.statistics.analysis import Analysis

DIGITS = 10
"""More differ between machines by the order of their additions."""

NOTE = "* p < .05, not corrected for several tests."


def write(folder: Path, analysis: Analysis, cohort: Cohort, results: Results) -> None:
    """Write every table of the group level into its folder."""
    described = [
        ("cohort", results.cohort),
        ("models", results.models),
        ("normality", results.normality),
        ("power", results.power),
        ("exclusions", cohort.exclusions),
        ("flow", flow.table(results.flow)),
        ("diagnostics", results.diagnostics),
        ("sensitivity", results.sensitivity),
    ]
    optional = [
        ("longitudinal", results.longitudinal),
        ("reliable_change", results.reliable_change),
        ("annual_change", results.annual_change),
        ("each_change", results.each_change),
        ("change_models", results.change),
        ("sites", results.sites),
        ("imputation", results.imputation),
        ("mediation", results.mediation),
        ("evidence", results.evidence),
        ("published", results.published),
        ("harmonisation", cohort.harmonised),
        ("disagreements", cohort.disagreements),
        ("readers", cohort.readers),
        ("choices", cohort.choices),
        ("acquisition", cohort.acquisitions),
        ("lesions", lesion_iron.table(cohort.lesions)),
        ("questionable", questionable.table(cohort.questionable)),
    ]
    # An empty optional table would look as if it had been asked for and had failed.
    described += [entry for entry in optional if len(entry[1])]
    for name, frame in described:
        _write(folder / name, frame, dictionary.TABLES[name])
    for table in analysis.tables:
        _write(folder / table.name, results.tables[table.name], dictionary.TABLE)
    for one in printed(analysis, results).values():
        printing.write(folder, one)
    # All sessions, not only the chosen ones: the file is also the input of other programs.
    wide = cohort.sessions
    _write_numbers(folder / "measures.tsv", wide)
    columns = [str(name) for name in wide.columns]
    write_json(
        folder / "measures.json", dictionary.describe_measures(columns, analysis, cohort.catalogue)
    )


def printed(analysis: Analysis, results: Results) -> dict[str, PrintedTable]:
    """Return every table that a paper would print, by its name."""
    made = [
        PrintedTable(
            name="cohort",
            frame=summary.printed(results.cohort, labels.UNITS),
            caption="Characteristics of the participants.",
        )
    ]
    for table in analysis.tables:
        frame = tables.printed(table, results.tables[table.name])
        caption = f"{table.title}. {table.description}".strip()
        made.append(PrintedTable(name=table.name, frame=frame, caption=caption, note=NOTE))
    if len(results.evidence):
        frame = study_sections.printed_evidence(results.evidence)
        made.append(
            PrintedTable(name="evidence", frame=frame, caption=study_sections.EVIDENCE_CAPTION)
        )
    for study in analysis.published:
        lines = results.published[results.published["study"] == study.name]
        made.append(
            PrintedTable(
                name=study_sections.printed_name(analysis.published, study),
                frame=study_sections.printed_study(study, lines),
                caption=f"{study.name} (doi:{study.doi}) and this cohort.",
                note=study_sections.STUDY_CAPTION,
            )
        )
    if len(results.sites):
        made.append(
            PrintedTable(
                name="sites",
                frame=site_forest.printed(results.sites, analysis),
                caption="Each site, and all together.",
                note=site_forest.NOTE,
            )
        )
    frame = strobe.checklist(analysis, results)
    made.append(PrintedTable(name="strobe", frame=frame, caption="STROBE checklist."))
    return {table.name: table for table in made}


def _write(stem: Path, frame: pd.DataFrame, descriptions: Mapping[str, str]) -> None:
    _write_numbers(stem.with_suffix(".tsv"), frame)
    columns = [str(name) for name in frame.columns]
    write_json(stem.with_suffix(".json"), dictionary.describe(columns, descriptions))


def _write_numbers(path: Path, frame: pd.DataFrame) -> None:
    """Write a table with ten digits, and ``n/a`` for empty text."""
    # BIDS has n/a for what is missing, and write_tsv writes it for NaN.
    write_tsv(path, frame.replace({"": float("nan")}), digits=DIGITS)
