"""A page as a value, and its rendering to one HTML file that needs nothing from outside.

A page is made of sections, a section of blocks. Each kind of block is a small value with the
name of its template; adding a kind means adding one class here and one template file. All text
is escaped by the templates, links are limited to harmless schemes, and a content security
policy in the page forbids requests to anywhere and any script but our own.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import ClassVar, Literal, Protocol
from urllib.parse import quote

import jinja2
import pandas as pd

from bids_qsmthal.core.decision import Decision
from bids_qsmthal.core.files import defused, tsv_text
from bids_qsmthal.report import numbers

Level = Literal["note", "warning", "error"]

MEDIA_TYPES = {"svg": "image/svg+xml", "png": "image/png", "jpeg": "image/jpeg"}

QUOTED = {ord(sign): quote(sign) for sign in '%#"<>\n\r\t'}
"""What would end an address, or its attribute; the rest of a drawing may stand as it is."""

# No colon in the last form: javascript: and data: are addresses that run code.
HARMLESS_LINK = re.compile(r"(https?://|mailto:|#|[\w./-]+(#[\w-]+)?$)", re.IGNORECASE)
"""A link goes to the web, to a mail, into the page, or to a file beside it."""


class Block(Protocol):
    """Anything that a section can hold: a value that names its template."""

    template: ClassVar[str]


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture: ``content`` is the whole file; ``name`` is for saving it beside the page.

    ``copies`` are other forms of it by their endings, which ``files`` puts into the folder
    ``figures`` beside the page. A ``tall`` picture is as wide as the text, however high: one that
    had to fit the window would be too small to read.
    """

    template: ClassVar[str] = "figure.html"

    title: str
    caption: str
    alt: str
    content: bytes
    kind: Literal["svg", "png", "jpeg"] = "svg"
    name: str = ""
    copies: Mapping[str, bytes] = field(default_factory=dict)
    tall: bool = False

    @property
    def files(self) -> dict[str, bytes]:
        """Every form of the picture by the name of its file."""
        return {f"{self.name}.{end}": what for end, what in self._forms.items()}

    @property
    def links(self) -> list[tuple[str, str]]:
        """The files beside the page, where there are several forms."""
        ends = self._forms if self.copies else {}
        return [(end.upper(), f"figures/{self.name}.{end}") for end in ends]

    @property
    def _forms(self) -> dict[str, bytes]:
        return {self.kind: self.content, **self.copies}

    @property
    def uri(self) -> str:
        """The picture as a data URI."""
        if self.kind == "svg":  # text stays text: base64 inside base64 would grow by a third
            return f"data:image/svg+xml,{self.content.decode().translate(QUOTED)}"
        return data_uri(self.content, MEDIA_TYPES[self.kind])


@dataclass(frozen=True, slots=True)
class Flicker:
    """Two pictures of one size in one place, to be switched by the reader."""

    template: ClassVar[str] = "flicker.html"

    title: str
    caption: str
    first: Figure
    second: Figure


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A table with a link that saves it as TSV under ``name``.

    ``status_column`` names a column whose words (include, check, exclude, pass, warn, fail) are
    marked with a sign and a colour; ``folded`` shows only the title until it is opened; ``links``
    are other forms of the table beside the page. ``shown`` is the table in the reader's words,
    where the one that is saved has keys for programs.
    """

    template: ClassVar[str] = "table.html"

    title: str
    frame: pd.DataFrame
    caption: str = ""
    name: str = "table"
    status_column: str = ""
    folded: bool = False
    links: Sequence[tuple[str, str]] = ()
    shown: pd.DataFrame | None = None

    @property
    def uri(self) -> str:
        """The table, in full precision, as a data URI of a TSV file."""
        return data_uri(tsv_text(self.frame).encode(), "text/tab-separated-values")

    @property
    def columns(self) -> list[tuple[str, bool]]:
        """The name of each column, and whether it holds numbers."""
        kinds = self._read.dtypes
        return [
            (str(name), pd.api.types.is_numeric_dtype(kind))
            for name, kind in zip(self._read.columns, kinds, strict=True)
        ]

    @property
    def _read(self) -> pd.DataFrame:
        return self.frame if self.shown is None else self.shown

    @property
    def rows(self) -> list[list[str]]:
        """The cells as the reader sees them, and may copy them into a spreadsheet."""
        # Spreadsheets run cells that begin with = or +; labels come from the user's tables.
        columns = (column.map(defused) for _, column in self._read.items())
        texts = [[numbers.text(value) for value in column] for column in columns]
        return [list(row) for row in zip(*texts, strict=True)]


@dataclass(frozen=True, slots=True)
class Prose:
    """Running text; an empty line separates paragraphs, web addresses become links."""

    template: ClassVar[str] = "prose.html"

    text: str
    title: str = ""

    @property
    def paragraphs(self) -> list[str]:
        """The text between empty lines."""
        return [part.strip() for part in re.split(r"\n\s*\n", self.text) if part.strip()]


@dataclass(frozen=True, slots=True)
class Listing:
    """Text to copy as it is: a command, a path, a bibliography."""

    template: ClassVar[str] = "listing.html"

    title: str
    text: str
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Rating:
    """A form with which the reader decides about a scan and saves that as a row of a TSV file.

    ``artefacts`` are what may be ticked, by the word that the file has for each.
    """

    template: ClassVar[str] = "rating.html"

    participant_id: str
    session_id: str
    run_id: str
    proposed: Decision
    name: str
    destination: str
    artefacts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: Sequence[Block] = ()


@dataclass(frozen=True, slots=True)
class Tile:
    """One number of the summary: what it is, its value with unit, and a remark."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether to use the scan, and why."""

    decision: Decision
    reasons: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the reader should know, and what to do about it."""

    text: str
    action: str = ""
    level: Level = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origins:
    """From what a page was made: the command, and the raw files from the dataset's root."""

    command: str = ""
    inputs: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A whole report.

    ``facts`` are labels and texts that stand in one box below the numbers; ``among`` is the page of
    the group level on which this scan is marked among all others, to look into from here.
    """

    title: str
    subtitle: str = ""
    summary: Sequence[Tile] = ()
    verdict: Verdict | None = None
    sections: Sequence[Section] = ()
    warnings: Sequence[Notice] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    links: Sequence[tuple[str, str]] = ()
    facts: Sequence[tuple[str, str]] = ()
    origins: Origins = field(default_factory=Origins)
    among: str = ""


def render(page: Page) -> str:
    """Return the page as one HTML document; equal pages give equal text."""
    return (
        environment()
        .get_template("page.html")
        .render(
            page=page,
            anchors=_anchors([section.title for section in page.sections]),
            script=source("page.js"),
            policy=policy(source("page.js")) + (FRAMES if page.among else ""),
        )
    )


def data_uri(content: bytes, media_type: str) -> str:
    """Return content as an address that carries it."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def _harmless(link: str) -> str:
    """Return a link, or nothing where it could run code."""
    return link if HARMLESS_LINK.match(link) else ""


def policy(*scripts: str) -> str:
    """Return a content security policy that allows these scripts and nothing from outside."""
    # Browsers run a script of the page only if its digest is listed: none that a table smuggles in.
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()) for script in scripts]
    allowed = " ".join(f"'sha256-{digest.decode('ascii')}'" for digest in digests)
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src {allowed}; base-uri 'none'; form-action 'none'"
    )


FRAMES = "; frame-src 'self' file:"
"""What a policy adds for a page that shows another page of the same folder."""


def _anchors(titles: Sequence[str]) -> list[str]:
    """Return a name for each heading that is unique and fit for an address."""
    plain = [re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") for title in titles]
    # The number makes them unique: two headings may have the same letters.
    return [f"{number}-{name}" for number, name in enumerate(plain, 1)]


@cache
def environment() -> jinja2.Environment:
    """Return what renders the templates: everything escaped, nothing undefined."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("bids_qsmthal.report"),
        # Everything: names of files, tables and settings of the user go into the page.
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["harmless"] = _harmless
    return templates


def source(name: str) -> str:
    """Return a template as it is written."""
    templates = resources.files("bids_qsmthal.report") / "templates"
    # Without the last line break, so that the text between the tags is the text of the digest.
    return (templates / name).read_text(encoding="utf-8").rstrip("\n")
