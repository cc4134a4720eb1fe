"""Saving a report: one HTML file, and its pictures beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bids_qsmthal.files import write_whole
from bids_qsmthal.report.page import Figure, Flicker, render
from bids_qsmthal.report.participant_page import participant_page

if TYPE_CHECKING:
    from pathlib import Path

    from bids_qsmthal.report.contents import ParticipantReport
    from bids_qsmthal.report.page import Page


def write_participant(report: ParticipantReport, path: Path, figures: Path) -> list[Path]:
    """Write a participant's page to ``path`` and its pictures into the folder ``figures``.

    Returns
    -------
    list of Path
        Every file written, the page first.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    return write_page(participant_page(report), path, figures, report.stem)


def write_page(page: Page, path: Path, figures: Path, stem: str) -> list[Path]:
    """Write a page, and each picture that has a name as ``figures/stem_name.svg``."""
    write_whole(path, render(page).encode())
    written = [path]
    for picture in pictures(page):
        if picture.name:
            place = figures / f"{stem}_{picture.name}.{picture.kind}"
            write_whole(place, picture.content)
            written.append(place)
    return written


def pictures(page: Page) -> list[Figure]:
    """Return every picture of a page in its order."""
    found: list[Figure] = []
    for block in (block for section in page.sections for block in section.blocks):
        if isinstance(block, Figure):
            found.append(block)
        elif isinstance(block, Flicker):
            found += [block.first, block.second]
    return found
