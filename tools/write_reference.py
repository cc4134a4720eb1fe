"""Write the reference pages of the documentation from the code: python tools/write_reference.py.

Sphinx runs it before it reads the pages (docs/conf.py), so no page can be older than the code. The
pages go to docs/reference/, which git ignores.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_qsmthal import choices
from bids_qsmthal.app import options, step_options
from bids_qsmthal.bids.products import PRODUCTS
from bids_qsmthal.core.errors import ExitCode
from bids_qsmthal.group import dictionary as group_tables
from bids_qsmthal.participant import (
    change_rows,
    dictionaries,
    lesion_iron,
    lesion_regions,
    measures,
    quality,
)
from bids_qsmthal.report import words
from bids_qsmthal.roi.quality import LIMITS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FOLDER = Path(__file__).parents[1] / "docs" / "reference"

COMMANDS: Mapping[str, options.Parser] = {
    "bids_qsmthal BIDS_DIR OUTPUT_DIR {participant,group}": options.main_parser(),
    "bids_qsmthal check": options.check_parser(),
    "bids_qsmthal demo": options.demo_parser(),
    "bids_qsmthal simulate": options.simulate_parser(),
    "bids_qsmthal verify": options.verify_parser(),
    "bids_qsmthal remake": options.remake_parser(),
    "bids_qsmthal view": options.view_parser(),
    "bids_qsmthal unwrap": step_options.unwrap_parser(),
    "bids_qsmthal background": step_options.background_parser(),
    "bids_qsmthal invert": step_options.invert_parser(),
    "bids_qsmthal r2star": step_options.r2star_parser(),
    "bids_qsmthal dicom": step_options.dicom_parser(),
}


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(value: object) -> str:
    return str(value).replace("|", r"\|").replace("\n", " ")


def command_line() -> str:
    """Return every option of every command, with its default."""
    parts = ["# Command line", "`--config FILE` takes any option of a run by its name."]
    for title, parser in COMMANDS.items():
        parts += [f"## `{title}`", str(parser.description)]
        for group in parser._action_groups:  # noqa: SLF001 - argparse has no other list of them
            actions = [one for one in group._group_actions if one.dest != "help"]  # noqa: SLF001
            if actions:
                what = str(group.title).capitalize()
                parts += [f"**{what}**", table(("option", "meaning"), map(_option, actions))]
    return "\n\n".join(parts)


def _option(action: argparse.Action) -> tuple[str, str]:
    names = [name for name in action.option_strings if "_" not in name] or [action.dest]
    values = f" One of {', '.join(f'`{one}`' for one in action.choices)}." if action.choices else ""
    return " ".join(f"`{name}`" for name in names), f"{action.help}.{values}"


def exit_statuses() -> str:
    """Return the exit statuses with what to do."""
    rows = [(int(code), code.meaning, code.advice) for code in ExitCode]
    return "\n\n".join(
        ["# Exit status", table(("status", "meaning", "what to do"), rows), options.SAME_FAILURE]
    )


def outputs() -> str:
    """Return every image with its unit and meaning."""
    rows = [
        (f"`*_{one.ending}.nii.gz`", one.space, one.units or "", one.description)
        for one in PRODUCTS.values()
    ]
    return "\n\n".join(
        [
            "# Images",
            "In `OUTPUT_DIR/sub-01/anat/`; each has a sidecar with what it is made from.",
            table(("file", "grid of", "unit", "what it is"), rows),
        ]
    )


def dictionary(title: str, said: str, columns: Mapping[str, Any]) -> str:
    """Return a page of a table's columns, their units and levels."""
    rows = [
        (f"`{name}`", column.get("Units", ""), column["Description"])
        for name, column in columns.items()
    ]
    parts = [f"# {title}", said, table(("column", "unit", "meaning"), rows)]
    for name, column in columns.items():
        if levels := column.get("Levels"):
            rows_of = [(f"`{level}`", meaning) for level, meaning in levels.items()]
            parts += [f"## {name}", table(("value", "meaning"), rows_of)]
    return "\n\n".join(parts)


def unit(measure: str) -> str:
    """Return the unit of a measure; 1 for counts, ratios and what is yes or no."""
    known = {f"qsm_{name}": one for name, one in measures.UNITS.items()}
    known |= measures.UNITS_OF_REGIONS
    if measure in known:
        return known[measure]
    return "ppb" if measure.startswith("chi_") else "1"


def numbers() -> str:
    """Return the columns of the measures, and each measure with unit and formula."""
    page = dictionary(
        "Measures",
        "`sub-01_desc-qsmthal_measures.tsv`: every number of a participant, one row each.",
        {name: column for name, column in measures.DICTIONARY.items() if name != "measure"},
    )
    levels = measures.DICTIONARY["measure"]["Levels"]
    rows = [(f"`{name}`", unit(name), formula) for name, formula in levels.items()]
    return "\n\n".join([page, "## measure", table(("measure", "unit", "formula or meaning"), rows)])


def quality_checks() -> str:
    """Return every check of a scan with its limits and their source."""
    rows = [
        (
            *(f"`{one.name}`", words.check(one.name), one.unit),
            *(_range(*one.check), _range(*one.exclude), one.source),
        )
        for one in LIMITS
    ]
    limited = {one.name for one in LIMITS}
    others = [(f"`{name}`", said) for name, said in words.CHECKS.items() if name not in limited]
    return "\n\n".join(
        [
            "# Quality checks",
            "A value outside of *unsuspicious* is `check`, one outside of *usable* is `exclude`. "
            "[Where the limits come from](../quality.md).",
            table(("name", "what", "unit", "unsuspicious", "usable", "source"), rows),
            "These are rated by what stage or file they are about, without a limit of this list:",
            table(("name", "what"), others),
        ]
    )


def _range(low: float, high: float) -> str:
    """Return a range in words; empty where every value lies in it."""
    match math.isfinite(low), math.isfinite(high):
        case True, True:
            return f"{low:g} to {high:g}"
        case True, False:
            return f"from {low:g}"
        case False, True:
            return f"up to {high:g}"
    return ""


def of_group() -> str:
    """Return the columns of every table of the group level."""
    tables = {"table1, table2 ... (those that a paper prints)": group_tables.TABLE}
    tables |= group_tables.TABLES
    parts = [
        "# Tables of the group level",
        "In `OUTPUT_DIR/group/`, each with a `.json` that says the same. The columns of "
        "`measures.tsv` are the variables of the analysis, where each value comes from "
        "(`..._source`), and every measure of the participants. `_unadjusted` and `_adjusted` "
        "at the end of a column name the model.",
    ]
    for name, columns in tables.items():
        rows = [(f"`{column}`", meaning) for column, meaning in columns.items()]
        parts += [f"## {name}", table(("column", "meaning"), rows)]
    return "\n\n".join(parts)


PAGES = {
    "command-line": command_line,
    "methods": lambda: f"# Methods\n\n```text\n{choices.describe_all()}\n```",
    "exit-status": exit_statuses,
    "images": outputs,
    "measures": numbers,
    "quality-checks": quality_checks,
    "lesion-table": lambda: dictionary(
        "Table of lesions",
        "`sub-01_desc-qsmthal_lesions.tsv`: one row for each distinct T2 lesion.",
        lesion_iron.DICTIONARY,
    ),
    "lesion-regions-table": lambda: dictionary(
        "Table of lesions and regions",
        "`sub-01_desc-atlases_lesions.tsv`: one row for each distinct T2 lesion and region of an "
        "atlas (`--atlas`) that share a voxel.",
        lesion_regions.DICTIONARY,
    ),
    "sensitivity-table": lambda: dictionary(
        "Table of choices",
        "`sub-01_desc-qsmthal_sensitivity.tsv`: how the number changes with each choice.",
        dictionaries.SENSITIVITY,
    ),
    "acquisition-table": lambda: dictionary(
        "Table of the acquisition",
        "`sub-01_desc-qsmthal_acquisition.tsv`: how a scan was acquired and reconstructed.",
        dictionaries.ACQUISITION,
    ),
    "change-table": lambda: dictionary(
        "Table of change",
        "`sub-01_desc-qsmthal_change.tsv`: what changed between the visits of a participant.",
        change_rows.DICTIONARY,
    ),
    "group-tables": of_group,
    "quality-table": lambda: dictionary(
        "Table of quality",
        "`sub-01_desc-qsmthal_quality.tsv`: what was measured to judge a scan.",
        quality.DICTIONARY,
    ),
}


def write(folder: Path = FOLDER) -> None:
    """Write every page."""
    folder.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (folder / f"{name}.md").write_text(page() + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
