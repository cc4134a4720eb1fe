"""Saving a report: one HTML file, and its pictures beside it."""

from __future__ import annotations

import os.path
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bids_qsmthal.core.files import write_whole
from bids_qsmthal.report import viewer
from bids_qsmthal.report.page import Figure, Flicker, render
from bids_qsmthal.report.participant_page import participant_page

if TYPE_CHECKING:
    from bids_qsmthal.report.contents import ParticipantReport
    from bids_qsmthal.report.page import Page


def write_participant(report: ParticipantReport, path: Path, figures: Path) -> list[Path]:
    """Write a participant's page to ``path``, its pictures and viewer into the folder ``figures``.

    Returns
    -------
    list of Path
        Every file written, the page first.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    page = participant_page(report)
    shown = viewer.layers(report.gre, report.regions)
    # Without a map there is nothing to look through, and no link to it.
    if not shown:
        return write_page(page, path, figures, report.stem)
    place = figures / f"{report.stem}_viewer.html"
    content = viewer.viewer_page(page.title, shown, _relative(path, figures))
    write_whole(place, content.encode())
    link = ("Look through the map slice by slice", _relative(place, path.parent))
    page = replace(page, links=(link, *page.links))
    return [*write_page(page, path, figures, report.stem), place]


def _relative(path: Path, start: Path) -> str:
    """Return the address of a file from a folder, as a link in a page has it."""
    return Path(os.path.relpath(path, start)).as_posix()


def write_page(page: Page, path: Path, figures: Path, stem: str) -> list[Path]:
    """Write a page, and each picture that has a name as ``figures/stem_name.svg``."""
    write_whole(path, render(page).encode())
    written = [path]
    for picture in pictures(page):
        # Pictures without a name stand in the page only.
        if picture.name:
            place = figures / f"{stem}_{picture.name}.{picture.kind}"
            write_whole(place, picture.content)
            written.append(place)
    return written


def pictures(page: Page) -> list[Figure]:
    """Return every picture of a page in its order."""
    figures: list[Figure] = []
    for block in (block for section in page.sections for block in section.blocks):
        if isinstance(block, Figure):
            figures.append(block)
        elif isinstance(block, Flicker):
            figures += [block.first, block.second]
    return figures
