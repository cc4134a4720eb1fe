"""The tables of the group level, each with its dictionary, and their printed forms."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from bids_qsmthal.core.files import write_json, write_text, write_tsv
from bids_qsmthal.group import dictionary, flow, questionable
from bids_qsmthal.group.assembly import Cohort
from bids_qsmthal.group.fitting import Results
from bids_qsmthal.statistics import tables
from bids_qsmthal.statistics.analysis import Analysis

DIGITS = 10
"""More differ between machines by the order of their additions."""

LATEX = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}"}


def write(folder: Path, analysis: Analysis, cohort: Cohort, results: Results) -> None:
    """Write every table of the group level into its folder."""
    described = [
        ("cohort", results.cohort, dictionary.COHORT),
        ("models", results.models, dictionary.COEFFICIENT),
        ("normality", results.normality, dictionary.NORMALITY),
        ("power", results.power, dictionary.POWER),
        ("exclusions", cohort.exclusions, dictionary.EXCLUSIONS),
        ("flow", flow.table(results.flow), dictionary.FLOW),
        ("diagnostics", results.diagnostics, dictionary.DIAGNOSTICS),
        ("sensitivity", results.sensitivity, dictionary.SENSITIVITY),
    ]
    optional = [
        ("longitudinal", results.longitudinal, dictionary.LONGITUDINAL),
        ("mediation", results.mediation, dictionary.MEDIATION),
        ("evidence", results.evidence, dictionary.EVIDENCE),
        ("published", results.published, dictionary.PUBLISHED),
        ("harmonisation", cohort.harmonised, dictionary.HARMONISATION),
        ("disagreements", cohort.disagreements, dictionary.DISAGREEMENTS),
        ("choices", cohort.choices, dictionary.CHOICES),
        ("questionable", questionable.table(cohort.questionable), dictionary.QUESTIONABLE),
    ]
    # An empty optional table would look as if it had been asked for and had failed.
    described += [entry for entry in optional if len(entry[1])]
    for name, frame, descriptions in described:
        _write(folder / name, frame, descriptions)
    for table in analysis.tables:
        numbers = results.tables[table.name]
        _write(folder / table.name, numbers, dictionary.TABLE)
        printed = tables.printed(table, numbers)
        caption = f"{table.title}. {table.description}".strip()
        write_text(folder / f"{table.name}.md", markdown(printed, caption))
        write_text(folder / f"{table.name}.tex", latex(printed, caption, table.name))
    # All sessions, not only the chosen ones: the file is also the input of other programs.
    wide = cohort.sessions
    _write_numbers(folder / "measures.tsv", wide)
    columns = [str(name) for name in wide.columns]
    write_json(
        folder / "measures.json", dictionary.describe_measures(columns, analysis, cohort.units)
    )


def markdown(printed: pd.DataFrame, caption: str) -> str:
    """Return a printed table in Markdown."""
    header = [str(name) or " " for name in printed.columns]
    lines = [f"**{caption}**" if caption else "", "", _pipes(header)]
    lines.append(_pipes(["---", *["---:"] * (len(header) - 1)]))
    # A star is emphasis in Markdown, and p < .05 in the table.
    lines += [_pipes([cell.replace("*", r"\*") for cell in row]) for row in printed.to_numpy()]
    return "\n".join([*lines, "", r"\* p < .05, not corrected for several tests.", ""])


def latex(printed: pd.DataFrame, caption: str, label: str) -> str:
    """Return a printed table in LaTeX, with the rules of the package booktabs."""
    header = " & ".join(_escaped(str(name)) for name in printed.columns)
    rows = [" & ".join(_escaped(cell) for cell in row) for row in printed.to_numpy()]
    body = "\n".join(f"{row} \\\\" for row in rows)
    return (
        "\\begin{table}\n"
        f"\\caption{{{_escaped(caption)} * p < .05, not corrected for several tests.}}\n"
        f"\\label{{tab:{label}}}\n"
        f"\\begin{{tabular}}{{l{'r' * (len(printed.columns) - 1)}}}\n\\toprule\n"
        f"{header} \\\\\n\\midrule\n{body}\n\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"
    )


def _write(stem: Path, frame: pd.DataFrame, descriptions: Mapping[str, str]) -> None:
    _write_numbers(stem.with_suffix(".tsv"), frame)
    columns = [str(name) for name in frame.columns]
    write_json(stem.with_suffix(".json"), dictionary.describe(columns, descriptions))


def _write_numbers(path: Path, frame: pd.DataFrame) -> None:
    """Write a table with ten digits, and ``n/a`` for empty text."""
    # BIDS has n/a for what is missing, and write_tsv writes it for NaN.
    write_tsv(path, frame.replace({"": float("nan")}), digits=DIGITS)


def _pipes(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _escaped(text: str) -> str:
    # Letter by letter, so that what one replacement adds is not replaced by the next.
    escaped = "".join(LATEX.get(letter, letter) for letter in text)
    return escaped.replace("\N{MINUS SIGN}", "$-$").replace("<", "$<$").replace(">", "$>$")
