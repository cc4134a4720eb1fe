"""Tables as papers print them, in forms that paste well: Markdown, LaTeX, HTML and Word."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING

import docx
from docx.enum.text import WD_ALIGN_PARAGRAPH
from docx.shared import Pt

from bids_qsmthal.core import digits
from bids_qsmthal.core.files import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from docx.document import Document
    from docx.text.paragraph import Paragraph

LATEX = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}"}

LATEX_SIGNS = {
    "\N{MINUS SIGN}": "$-$", "\N{PLUS-MINUS SIGN}": r"$\pm$", "<": "$<$", ">": "$>$",
    "\N{MULTIPLICATION SIGN}": r"$\times$", "\N{ALMOST EQUAL TO}": r"$\approx$",
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    **{chr(raised): f"$^{{{chr(plain)}}}$" for plain, raised in digits.RAISED.items()},
}  # fmt: skip

NO_DATE = datetime(1980, 1, 1, tzinfo=UTC)
"""The first date that a zip file can hold: the same bytes whenever a table is written."""

STYLE = (
    "table{border-collapse:collapse;border-top:1.5pt solid;border-bottom:1.5pt solid;"
    "font:10pt 'Times New Roman',serif}"
    "caption{text-align:left;padding-bottom:6pt}thead th{border-bottom:.75pt solid}"
    "th,td{padding:2pt 8pt;text-align:right;vertical-align:top}"
    "th:first-child,td:first-child{text-align:left;font-weight:normal}"
    "p{font:9pt 'Times New Roman',serif}"
)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PrintedTable:
    """A table of texts as a paper prints it."""

    name: str
    """How its files begin."""

    frame: pd.DataFrame
    caption: str = ""
    note: str = ""
    """What stands below it."""

    @property
    def header(self) -> list[str]:
        """The names of its columns."""
        return [str(name).strip() for name in self.frame.columns]

    @property
    def rows(self) -> list[list[str]]:
        """Its cells, row by row."""
        return [[str(cell) for cell in row] for row in self.frame.to_numpy()]


def write(folder: Path, table: PrintedTable) -> None:
    """Write a table in every form."""
    for end, (_, form) in FORMS.items():
        write_whole(folder / f"{table.name}.{end}", form(table))


def links(name: str) -> list[tuple[str, str]]:
    """Return the files of a printed table beside the page, by what they are called."""
    return [(title, f"{name}.{end}") for end, (title, _) in FORMS.items()]


def markdown(table: PrintedTable) -> str:
    """Return a printed table in Markdown."""
    columns = len(table.header)
    lines = [f"**{table.caption}**", ""] if table.caption else []
    lines.append(_pipes([name or " " for name in table.header]))
    lines.append(_pipes(["---", *["---:"] * (columns - 1)]))
    lines += [_pipes([_plain(cell) for cell in row]) for row in table.rows]
    return "\n".join([*lines, "", *([_plain(table.note), ""] if table.note else [])])


def latex(table: PrintedTable) -> str:
    """Return a printed table in LaTeX, with the rules of the package booktabs."""
    header = " & ".join(map(_escaped, table.header))
    body = "\n".join(f"{' & '.join(map(_escaped, row))} \\\\" for row in table.rows)
    caption = " ".join(part for part in (table.caption, table.note) if part)
    return (
        "\\begin{table}\n"
        f"\\caption{{{_escaped(caption)}}}\n"
        f"\\label{{tab:{table.name}}}\n"
        f"\\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}\n\\toprule\n"
        f"{header} \\\\\n\\midrule\n{body}\n\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"
    )


def html(table: PrintedTable) -> str:
    """Return a printed table as a page of its own, to be copied into a text."""
    header = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.header)
    body = "\n".join(
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in table.rows
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        f"<title>{escape(table.name)}</title><style>{STYLE}</style></head>\n<body>\n"
        f"<table>\n<caption>{escape(table.caption)}</caption>\n"
        f"<thead><tr>{header}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n"
        f"<p>{escape(table.note)}</p>\n</body>\n</html>\n"
    )


def word(table: PrintedTable) -> bytes:
    """Return a printed table as a Word document with a real table in it."""
    document = docx.Document()
    document.styles["Normal"].font.size = Pt(9)
    _said(document.add_paragraph(), table.caption, bold=True)
    made = document.add_table(len(table.rows) + 1, len(table.header))
    made.style = "Light List"
    header = table.header
    for row, texts in zip(made.rows, [header, *table.rows], strict=True):
        for place, (cell, text) in enumerate(zip(row.cells, texts, strict=True)):
            _said(cell.paragraphs[0], text, bold=texts is header, right=place > 0)
    _said(document.add_paragraph(), table.note)
    return _saved(document)


def _said(paragraph: Paragraph, text: str, *, bold: bool = False, right: bool = False) -> None:
    paragraph.add_run(text).bold = bold
    if right:
        paragraph.alignment = WD_ALIGN_PARAGRAPH.RIGHT


def _saved(document: Document) -> bytes:
    """Return a document without the dates and the author of its template."""
    about = document.core_properties
    about.author = about.comments = about.title = ""
    about.created = about.modified = NO_DATE
    stream = io.BytesIO()
    document.save(stream)
    made = io.BytesIO()
    # The library gives each part of the archive the time of now.
    with zipfile.ZipFile(stream) as found, zipfile.ZipFile(made, "w") as kept:
        for part in found.infolist():
            entry = zipfile.ZipInfo(part.filename, NO_DATE.timetuple()[:6])
            entry.compress_type = zipfile.ZIP_DEFLATED
            kept.writestr(entry, found.read(part))
    return made.getvalue()


def _pipes(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _plain(text: str) -> str:
    # A star is emphasis in Markdown, and p < .05 in the table; a pipe would begin a new cell.
    return text.replace("*", r"\*").replace("|", r"\|")


def _escaped(text: str) -> str:
    # Letter by letter, so that what one replacement adds is not replaced by the next.
    return "".join((LATEX | LATEX_SIGNS).get(letter, letter) for letter in text)


def _bytes(form: Callable[[PrintedTable], str]) -> Callable[[PrintedTable], bytes]:
    return lambda table: form(table).encode()


FORMS: dict[str, tuple[str, Callable[[PrintedTable], bytes]]] = {
    "docx": ("Word", word),
    "html": ("HTML", _bytes(html)),
    "tex": ("LaTeX", _bytes(latex)),
    "md": ("Markdown", _bytes(markdown)),
}
"""What each form is called, and who makes it, by the ending of its files."""
