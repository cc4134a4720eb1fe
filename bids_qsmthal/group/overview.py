"""Every quality measure of every scan on one page, on which each person can be found."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from bids_qsmthal.core.decision import Decision
from bids_qsmthal.core.files import write_text
from bids_qsmthal.group import table_reading
from bids_qsmthal.group.participant_tables import distinct
from bids_qsmthal.group.ratings import KEY
from bids_qsmthal.report import words
from bids_qsmthal.report.page import environment, policy, source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import pandas as pd

NAME = "quality.html"

RESULTS: Final = (
    ("chi_relative_csf", "thalamus", "LR", "Relative susceptibility of both thalami", 1.0, "ppb"),
    ("chi_relative_csf", "thalamus", "L", "Relative susceptibility, left thalamus", 1.0, "ppb"),
    ("chi_relative_csf", "thalamus", "R", "Relative susceptibility, right thalamus", 1.0, "ppb"),
    ("volume", "thalamus", "LR", "Volume of both thalami on T1w", 1e-3, "mL"),
    ("volume", "gray_matter", "", "Gray matter volume", 1e-3, "mL"),
    ("thickness_mean", "cortex", "LR", "Cortical thickness", 1.0, "mm"),
    ("volume", "lesion", "", "T2 lesion volume", 1e-3, "mL"),
    ("lesion_count", "lesion", "", "Number of T2 lesions", 1.0, ""),
)
"""Measure, region and side of the results that are shown above the checks; factor and unit."""

SHOWN_BY_CHECKS = frozenset({"chi_relative_csf_ppb"})
"""Checks whose value is one of the results."""

DIGITS = 6
"""What a reader sees of a number; more would only make the page larger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantStrip:
    """One measure of all scans.

    Attributes
    ----------
    by_scan
        Its values.
    flagged
        Verdicts other than ``include``.
    """

    title: str
    unit: str
    limit: str
    by_scan: Mapping[str, float]
    flagged: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """What the page shows.

    Attributes
    ----------
    strips
        Results first, then checks in the order of their table.
    decisions
        Of every scan that has measures, whether it is used.
    """

    strips: tuple[ParticipantStrip, ...]
    decisions: Mapping[str, str]


def gather(checks: pd.DataFrame, measures: pd.DataFrame, decided: pd.DataFrame) -> Overview:
    """Return what the page shows.

    Parameters
    ----------
    checks
        Columns scan, name, value, unit, threshold, verdict, as text.
    measures
        The tidy table: who, scan, measure, region, hemisphere, value.
    decided
        Decision by participant, session and run.
    """
    found = (*_results(measures), *_checks(checks))
    scans = distinct(measures, [*KEY, "scan"], ["scan"]).merge(decided, on=KEY, how="left")
    words_of = scans["decision"].fillna(Decision.INCLUDE).astype(str)
    return Overview(
        strips=tuple(strip for strip in found if strip.by_scan),
        decisions=dict(sorted(zip(scans["scan"], words_of, strict=True))),
    )


def write(folder: Path, shown: Overview) -> Path:
    """Write ``quality.html``."""
    # No tag can begin inside the data: labels come from files of the user.
    data = json.dumps(asdict(shown)).replace("<", "\\u003c")
    script = source("overview.js")
    page = (
        environment()
        .get_template("overview.html")
        .render(data=data, script=script, policy=policy(script), count=len(shown.decisions))
    )
    path = folder / NAME
    write_text(path, page)
    return path


def _results(measures: pd.DataFrame) -> Iterator[ParticipantStrip]:
    sides = measures["hemisphere"]
    without = sides.isna() | sides.isin(["n/a", ""])
    for measure, region, side, title, factor, unit in RESULTS:
        rows = measures[
            (measures["measure"] == measure)
            & (measures["region"] == region)
            & (sides.eq(side) if side else without)
        ]
        values = rows["value"].astype(float) * factor
        yield _strip(title, unit, "", dict(zip(rows["scan"], values, strict=True)), {})


def _checks(checks: pd.DataFrame) -> Iterator[ParticipantStrip]:
    # A name may stand twice for one scan: notes of the anatomy have no number anyway.
    numbered = checks.assign(
        value=table_reading.numbers(checks["value"], "quality.tsv", checks["scan"])
    ).dropna(subset=["value"])
    for name, rows in numbered.groupby("name", sort=False):
        if name not in SHOWN_BY_CHECKS:
            first = rows.iloc[0]
            verdicts = rows["verdict"] != "include"
            flagged = dict(zip(rows["scan"][verdicts], rows["verdict"][verdicts], strict=True))
            values = dict(zip(rows["scan"], rows["value"], strict=True))
            unit = "" if first["unit"] in ("1", "n/a") else first["unit"]
            yield _strip(words.check(str(name)), unit, first["threshold"], values, flagged)


def _strip(
    title: str, unit: str, limit: str, values: dict[str, float], flagged: dict[str, str]
) -> ParticipantStrip:
    known = {
        scan: float(f"{value:.{DIGITS}g}")
        for scan, value in values.items()
        if not math.isnan(value)
    }
    return ParticipantStrip(title=title, unit=unit, limit=limit, by_scan=known, flagged=flagged)
