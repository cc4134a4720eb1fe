"""Two sections of the page: effect sizes with what speaks for none, and the published study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bids_qsmthal.group import digits, pictures, printing, study_figure, study_words
from bids_qsmthal.report import numbers
from bids_qsmthal.report.page import Block, Prose, Section, Table
from bids_qsmthal.statistics import tables
from bids_qsmthal.statistics.analysis import Analysis
from bids_qsmthal.statistics.published import Reading, Study

EMPTY = numbers.MISSING

EVIDENCE_CAPTION = (
    "Per SD of the term; partial correlation with its 95% interval; p of the "
    "equivalence test; the smallest correlation that is excluded; Bayes factor for the "
    "term."
)


STUDY_CAPTION = (
    "z: difference of the coefficients divided by its standard error, the sign of the published "
    "one as computed here, and turned. Power: chance that the study would have found a "
    "correlation as large as the one here, and that this cohort would find one as large as the "
    "study's."
)


def printed_name(studies: Sequence[Study], study: Study) -> str:
    """Return the name of the files of a printed comparison: with a number from the second on."""
    place = [one.name for one in studies].index(study.name)
    return "published" if place == 0 else f"published_{place + 1}"


def make(analysis: Analysis, evidence: pd.DataFrame, compared: pd.DataFrame) -> list[Section]:
    """Return the section on evidence, and one for each published study."""
    sections = []
    if len(evidence):
        sections.append(Section("Effect sizes and evidence", _evidence(analysis, evidence)))
    for study in analysis.published:
        lines = compared[compared["study"] == study.name]
        sections.append(Section(f"Beside {study.name}", _study(analysis, study, lines)))
    return sections


def _evidence(analysis: Analysis, evidence: pd.DataFrame) -> list[Block]:
    return [
        Prose(study_words.read_evidence(evidence, analysis.evidence.smallest_effect)),
        Table(
            "Effect sizes",
            printed_evidence(evidence),
            caption=EVIDENCE_CAPTION,
            name="evidence_printed",
            links=printing.links("evidence"),
        ),
        Table("Effect sizes and evidence in full", evidence, name="evidence", folded=True),
    ]


def printed_evidence(evidence: pd.DataFrame) -> pd.DataFrame:
    """Return the table of evidence as a page shows it: texts, rounded."""
    lines = [
        {
            "Line": f"{row['label']} ({row['side']})",
            "Verdict": row["verdict"] or EMPTY,
            "Per SD (95% CI)": _as_read(row, "per_sd"),
            "Per 10 ppb (95% CI)": _as_read(row, "per_10_ppb"),
            "Partial r (95% CI)": digits.correlation_with_interval(*_ends(row, "partial_r")),
            "Equivalence p": tables.print_p(row["p_equivalence"]).removesuffix("*"),
            "Excluded beyond": digits.correlation(row["excluded_beyond"]),
            "BF10": digits.significant(row["bf10"], 2),
        }
        for row in evidence.to_dict("records")
    ]
    return pd.DataFrame(lines)


def _ends(row: Mapping[Any, Any], name: str) -> tuple[float, float, float]:
    """Return an estimate of a row with the ends of its interval."""
    return row[name], row[f"{name}_low"], row[f"{name}_high"]


def _as_read(row: Mapping[Any, Any], name: str) -> str:
    """Return an effect with its interval; a logarithm of a ratio as the ratio."""
    ratio = tables.RATIOS.get(row["effect"])
    if ratio is None:
        return digits.with_interval(*_ends(row, name))
    with np.errstate(over="ignore"):
        estimate, low, high = (np.exp(value) for value in _ends(row, name))
    text = digits.with_interval(estimate, low, high)
    return text if text == EMPTY else f"{text}, {ratio}"


def _study(analysis: Analysis, study: Study, lines: pd.DataFrame) -> list[Block]:
    name = printed_name(analysis.published, study)
    blocks: list[Block] = [
        Prose(study_words.read_study(study, lines)),
        Table(
            "Published and found",
            printed_study(study, lines),
            caption=STUDY_CAPTION,
            name=f"{name}_printed",
            links=printing.links(name),
        ),
        Table("Published and found in full", lines, name=name, folded=True),
    ]
    drawn = study_figure.lines_of(lines)
    if (drawn["who"] == "here").any():
        figure = pictures.figure(
            f"Forest plot: {study.name} and this cohort",
            "Correlations, partial ones after adjustment, with 95% confidence intervals.",
            "Published and own correlations of each published value; the numbers are in the table.",
            study_figure.forest(drawn),
            tall=True,
        )
        blocks.insert(1, figure)
    return blocks


def printed_study(study: Study, lines: pd.DataFrame) -> pd.DataFrame:
    """Return published values and ours as a page shows them."""
    shown = []
    for value in study.entries:
        rows = study_words.by_reading(value, lines)
        here = rows[Reading.AS_HERE]
        shown.append(
            {
                "Place": value.place,
                "Published (95% CI)": study_words.printed(value),
                "Here (95% CI)": digits.with_interval(
                    here["coefficient"], here["ci_low"], here["ci_high"]
                ),
                "n": numbers.text(here["n"]),
                "z": digits.fixed(here["z"], 2),
                "z, sign turned": digits.fixed(rows.get(Reading.TURNED, {}).get("z"), 2),
                "Power there": digits.chance(here["power_there"]),
                "Power here": digits.chance(here["power_here"]),
            }
        )
    return pd.DataFrame(shown)
