"""Printed tables hold the same texts in every form, and are the same bytes every time."""

import hashlib
import io
import zipfile
from dataclasses import replace
from html.parser import HTMLParser

import docx
import pandas as pd
import pytest
from docx.enum.text import WD_ALIGN_PARAGRAPH

from bids_qsmthal.group import printing
from bids_qsmthal.group.printing import PrintedTable

MINUS = "\N{MINUS SIGN}"


@pytest.fixture
def table() -> PrintedTable:
    frame = pd.DataFrame(
        {
            "": ["Volume <large> & 5_%", "Age | years"],
            "Unadjusted coefficient": [f"{MINUS}9.0", "0.2"],
            "Unadjusted p": [".032*", "<.001*"],
        }
    )
    return PrintedTable(name="table1", frame=frame, caption="Caption.", note="* p < .05.")


class Cells(HTMLParser):
    """The texts of the cells of a page, row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.inside = False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        del attrs
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.inside = True
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th"}:
            self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.rows[-1][-1] += data


def test_html_has_every_cell_as_it_is(table: PrintedTable) -> None:
    read = Cells()
    read.feed(printing.html(table))
    assert read.rows == [table.header, *table.rows]


def test_html_has_caption_and_note_as_texts(table: PrintedTable) -> None:
    text = printing.html(replace(table, caption="A & B", note="* p < .05."))
    assert "<caption>A &amp; B</caption>" in text
    assert "<p>* p &lt; .05.</p>" in text


def test_word_has_a_table_with_every_cell_its_caption_and_its_note(table: PrintedTable) -> None:
    document = docx.Document(io.BytesIO(printing.word(table)))
    (made,) = document.tables
    assert [[cell.text for cell in row.cells] for row in made.rows] == [table.header, *table.rows]
    assert [paragraph.text for paragraph in document.paragraphs] == [table.caption, table.note]


def test_numbers_of_a_word_table_stand_to_the_right_and_its_header_is_bold(
    table: PrintedTable,
) -> None:
    (made,) = docx.Document(io.BytesIO(printing.word(table))).tables
    for place, row in enumerate(made.rows):
        first, *rest = [cell.paragraphs[0] for cell in row.cells]
        assert first.alignment is None
        assert {one.alignment for one in rest} == {WD_ALIGN_PARAGRAPH.RIGHT}
        assert {one.runs[0].bold for one in rest} == {place == 0}


def test_a_word_file_is_the_same_bytes_every_time(table: PrintedTable) -> None:
    first = printing.word(table)
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert {part.date_time for part in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        about = archive.read("docProps/core.xml").decode()
    assert about.count("1980-01-01T00:00:00Z") == 2
    assert "python-docx" not in about
    assert hashlib.sha256(printing.word(table)).digest() == hashlib.sha256(first).digest()


def test_latex_escapes_what_it_would_read_as_commands(table: PrintedTable) -> None:
    text = printing.latex(table)
    assert r"Volume $<$large$>$ \& 5\_\% & $-$9.0 & .032* \\" in text
    assert r"\caption{Caption. * p $<$ .05.}" in text
    assert r"\begin{tabular}{lrr}" in text
    # Named after its file, so that a text can refer to it; rules above, below and under the head.
    assert r"\label{tab:table1}" in text
    header = r" & Unadjusted coefficient & Unadjusted p \\"
    kinds = [line for line in text.splitlines() if line == header or line.endswith("rule")]
    assert kinds == [r"\toprule", header, r"\midrule", r"\bottomrule"]


def test_markdown_keeps_stars_and_cells_apart(table: PrintedTable) -> None:
    lines = printing.markdown(table).splitlines()
    assert lines[:3] == ["**Caption.**", "", "|   | Unadjusted coefficient | Unadjusted p |"]
    assert lines[3] == "| --- | ---: | ---: |"  # numbers to the right
    assert r"| Age \| years | 0.2 | <.001\* |" in lines
    assert lines[-1] == r"\* p < .05."
