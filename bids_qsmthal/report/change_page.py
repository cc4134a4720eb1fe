"""The page of one participant over several visits: what changed, and how sure that is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from bids_qsmthal.report import change_figures, numbers
from bids_qsmthal.report.change_contents import CHANGE_WORDS
from bids_qsmthal.report.change_figures import COURSES, PERCENT, rows_of
from bids_qsmthal.report.page import (
    Block,
    Listing,
    Notice,
    Origins,
    Page,
    Prose,
    Section,
    Table,
    Tile,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bids_qsmthal.report.change_contents import ChangeReport, LesionStep
    from bids_qsmthal.report.change_figures import Shown

HOW = (
    "All visits lie in one frame, half-way between them, and share one set of borders. Volumes "
    "change where a border moves (Freeborough and Fox 1997, doi 10.1109/42.640753; Smith et al. "
    "2002, doi 10.1006/nimg.2002.1040; frame: Reuter et al. 2012, doi "
    "10.1016/j.neuroimage.2012.02.084). Susceptibility is compared in the voxels that both visits "
    "use as thalamus and as reference; its error is that of two single measurements. A change is "
    "called reliable if its 95 % interval does not include zero (Jacobson and Truax 1991, doi "
    "10.1037/0022-006X.59.1.12). How well this was measured is in the documentation, page "
    "docs/longitudinal.md."
)

OTHER_VOXELS = (
    "The T1w of these visits have different voxel sizes. This alone changes volumes and thickness, "
    "by more than their intervals allow for: no such change is called reliable."
)
SAME_PROTOCOL = "Compare visits that were scanned with the same protocol."

FOUND = "{found} from {session_from} to {session_to}, {by}."

CORRECT = (
    " To confirm or reject them, run the browser below and choose the label {label}: Shift+N goes "
    "to the next one, c confirms it, x rejects it. Or correct the image in an editor ({numbers}, 0 "
    "none of these) and save it as {edit}. The next run takes your image and leaves everything "
    "else as it is."
)

BY_MASKS = ("new", "vanished")
"""Which changes are proposed where two masks were compared and no reader has looked."""

LABEL = "\N{LEFT DOUBLE QUOTATION MARK}lesion changes\N{RIGHT DOUBLE QUOTATION MARK}"


def change_page(report: ChangeReport) -> Page:
    """Return the page; what is missing is left out."""
    first, last = report.visits[0], report.visits[-1]
    days = [f"{visit.session_id}: {visit.day}" for visit in report.visits if visit.day]
    return Page(
        title=f"{report.participant_id}, {len(report.visits)} visits",
        subtitle=f"Change from {first.session_id} to {last.session_id}",
        summary=_tiles(report),
        warnings=_warnings(report),
        sections=[
            Section("Change", [block for block in _change(report) if block is not None]),
            Section("From visit to visit", list(change_figures.flickers(report))),
            Section("Lesion changes", list(_lesions(report))),
            Section("All numbers", [_whole(report)]),
        ],
        versions=report.versions,
        links=[
            (page.removesuffix(".html"), page) for visit in report.visits for page in visit.pages
        ],
        facts=[("Scanned on", ", ".join(days))] if days else [],
        origins=Origins(command=report.command),
    )


def _warnings(report: ChangeReport) -> list[Notice]:
    """Return why a change with an interval is called neither reliable nor unreliable."""
    table = report.table
    unjudged = table["change_ci_low"].notna() & (table["reliable"] == "n/a")
    return [Notice(OTHER_VOXELS, SAME_PROTOCOL)] if unjudged.any() else []


def _tiles(report: ChangeReport) -> list[Tile]:
    """Return the change from the first visit to the last."""
    pair = (report.visits[0].session_id, report.visits[-1].session_id)
    tiles = []
    for what in COURSES:
        rows = rows_of(report.table, what)
        own = rows[(rows["session_from"] == pair[0]) & (rows["session_to"] == pair[1])]
        if len(own) and not math.isnan(own[what.column].iloc[0]):
            one = own.iloc[0]
            value, note = _written(one, what)
            reliable = {"yes": "reliable", "no": "not reliable"}.get(str(one["reliable"]), "")
            note = "; ".join(part for part in (note, reliable) if part)
            tiles.append(Tile(what.title, value, note))
    for title, measure in (("New lesions", "new_count"), ("Vanished lesions", "vanished_count")):
        own = report.table[report.table["measure"] == measure]
        if len(own):
            tiles.append(Tile(title, numbers.text(round(own["change"].sum())), _looked(report)))
    return tiles


def _looked(report: ChangeReport) -> str:
    proposed = any(step.source == report.proposed_by for step in report.steps)
    return "proposed, for a reader to confirm" if proposed else "by a reader"


def _written(row: pd.Series[float], what: Shown) -> tuple[str, str]:
    """Return a change and its interval in words."""
    scale = 100 / float(row["value"]) if what.column == PERCENT else 1.0
    decimals = {"mm": 3, "mm3": 0}.get(what.unit, 1)
    unit = what.shown_unit
    value = float(row[what.column])
    sign = "+" if value > 0 else ""
    low, high = (scale * float(row[f"change_ci_{end}"]) for end in ("low", "high"))
    if math.isnan(low):
        return f"{sign}{numbers.quantity(value, unit, decimals)}", ""
    ends = " to ".join(numbers.fixed(end, decimals) for end in (low, high))
    return f"{sign}{numbers.quantity(value, unit, decimals)}", f"95 % interval {ends} {unit}"


def _change(report: ChangeReport) -> Iterator[Block | None]:
    yield change_figures.courses(report)
    yield Table(
        "From visit to visit",
        report.table,
        "The later visit minus the earlier one.",
        f"{report.participant_id}_desc-qsmthal_change",
        shown=_readable(report),
    )
    yield Prose(HOW)


def _readable(report: ChangeReport) -> pd.DataFrame:
    """Return the main numbers of every pair of visits, in words."""
    made = []
    for what in COURSES:
        for _, row in rows_of(report.table, what).iterrows():
            value, interval = _written(row, what)
            made.append(
                {
                    "from": row["session_from"],
                    "to": row["session_to"],
                    "what": what.title,
                    # A spreadsheet would take a cell that begins with + for a formula.
                    "change": value.removeprefix("+"),
                    "95 % interval": interval.removeprefix("95 % interval ") or numbers.MISSING,
                    "reliable": row["reliable"],
                }
            )
    columns = ["from", "to", "what", "change", "95 % interval", "reliable"]
    return pd.DataFrame(made, columns=columns)


def _whole(report: ChangeReport) -> Table:
    return Table(
        "Every row of the table of change",
        report.table,
        "Nuclei, each side, and the other background removals, too.",
        f"{report.participant_id}_desc-qsmthal_change",
        folded=True,
    )


def _lesions(report: ChangeReport) -> Iterator[Block]:
    """Yield what is said of lesions from visit to visit, and how to correct it."""
    if not report.steps:
        yield Prose("Lesions were not looked for at two neighbouring visits.")
        return
    for step in report.steps:
        yield Prose(_said(step, report))
        figure = change_figures.gallery(step)
        if figure is not None:
            yield figure
    yield Listing("Open the browser", "bids_qsmthal view BIDS_DIR OUTPUT_DIR")


def _said(step: LesionStep, report: ChangeReport) -> str:
    proposed = step.source == report.proposed_by
    # Two masks do not say which ones are larger or smaller.
    shown = [word for word in step.counts if step.by_flair or not proposed or word in BY_MASKS]
    found = "Lesions: " + ", ".join(f"{step.counts[word]} {word}" for word in shown)
    compared = "the FLAIR of both visits" if step.by_flair else "two masks"
    by = f"proposed by the comparison of {compared}" if proposed else f"by {step.source}"
    said = FOUND.format(
        found=found, session_from=step.session_from, session_to=step.session_to, by=by
    )
    # Nothing proposed: there is nothing to confirm.
    if proposed and not any(step.counts[word] for word in shown):
        return said
    named = ", ".join(f"{number} {word}" for number, word in CHANGE_WORDS.items())
    return said + CORRECT.format(label=LABEL, numbers=named, edit=step.edit)
