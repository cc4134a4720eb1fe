"""The methods paragraph of one run, with the literature of what really ran."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import jinja2
import yaml

from bids_qsmthal.report.page import source
from bids_qsmthal.report.steps import steps

if TYPE_CHECKING:
    from bids_qsmthal.report.methods_run import MethodsRun
    from bids_qsmthal.report.steps import Step

# Values may hold one more pair of braces, with which BibTeX keeps capitals.
FIELDS = re.compile(r"(\w+) = \{((?:[^{}]|\{[^{}]*\})*)\}")
ENTRY = re.compile(r"@\w+\{(\w+), ")
CITATION = re.compile(r"\[(@\w+(?:; @\w+)*)\]")


@dataclass(frozen=True, slots=True)
class Paragraph:
    """What was done in one part of the analysis; citations as [1, 2]."""

    heading: str
    text: str


@dataclass(frozen=True, slots=True)
class BibliographyEntry:
    """One cited work."""

    key: str
    formatted: str
    bibtex: str


@dataclass(frozen=True, slots=True)
class Methods:
    """The methods of a run."""

    paragraphs: Sequence[Paragraph]
    references: Sequence[BibliographyEntry]

    @property
    def markdown(self) -> str:
        """The whole text in Markdown."""
        template = _environment().get_template("methods.md")
        return template.render(sections=self.paragraphs, references=self.references)

    @property
    def bibtex(self) -> str:
        """The cited works."""
        return "".join(f"{reference.bibtex}\n" for reference in self.references)


def describe(run: MethodsRun) -> Methods:
    """Put into words what ran.

    A method without a sentence is named as it is, without a citation.
    """
    works = _bibliography()
    written: dict[str, list[str]] = defaultdict(list)
    for step in steps(run):
        written[step.name].append(_sentence(step))
    # Numbers run over the whole text in the order of first citation.
    cited: list[str] = []
    paragraphs = []
    for section in _wording():
        # In the order of the wording file, not of the run: the text reads alike in every paper.
        text = " ".join(sentence for name in section["steps"] for sentence in written[name])
        if text:
            paragraphs.append(Paragraph(section["heading"], _numbered(text, cited)))
    # Words of the run and of the user's file, not of the wording file: nothing in them is cited.
    paragraphs += [Paragraph(heading, text) for heading, text in run.group_texts.items()]
    return Methods(tuple(paragraphs), tuple(works[key] for key in cited))


def sentences() -> dict[tuple[str, str], str]:
    """Return every sentence as it is written, by step and choice."""
    return {
        (name, choice): text
        for section in _wording()
        for name, known in section["steps"].items()
        for choice, text in known.items()
    }


def _sentence(step: Step) -> str:
    text = sentences().get((step.name, step.choice))
    # A method that was added without a sentence must not stop a run, nor be left unsaid.
    if text is None:
        return f"{step.name.replace('_', ' ').capitalize()}: {step.choice}."
    return _template(text).render(step.values)


def _numbered(text: str, cited: list[str]) -> str:
    """Replace keys by numbers in the order of first citation; ``cited`` grows."""

    def number(match: re.Match[str]) -> str:
        keys = [key.removeprefix("@") for key in match.group(1).split("; ")]
        cited.extend(key for key in keys if key not in cited)
        return f"[{', '.join(str(cited.index(key) + 1) for key in keys)}]"

    return CITATION.sub(number, text)


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("bids_qsmthal.report"),
        autoescape=False,  # noqa: S701 - Markdown, not HTML; pages escape it again
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )


@cache
def _template(text: str) -> jinja2.Template:
    return _environment().from_string(text)


@cache
def _wording() -> list[dict[str, Any]]:
    sections: list[dict[str, Any]] = yaml.safe_load(source("methods.yaml"))
    return sections


@cache
def _bibliography() -> dict[str, BibliographyEntry]:
    works = {}
    for line in source("bibliography.bib").splitlines():
        entry = ENTRY.match(line)
        if entry:
            works[entry.group(1)] = BibliographyEntry(entry.group(1), _formatted(line), line)
    return works


def _formatted(entry: str) -> str:
    """Return an entry in the style of a medical journal."""
    part = {name: value.replace("{", "").replace("}", "") for name, value in FIELDS.findall(entry)}
    authors = part["author"].split(" and ")
    # Six authors and et al, as in the style of Vancouver.
    named = ", ".join(authors[:6]) + (", et al" if len(authors) > 6 else "")
    named = named.replace(", others", ", et al")
    place = part.get("journal", part.get("booktitle", ""))
    volume = f";{part['volume']}" if "volume" in part else ""
    pages = f":{part['pages'].replace('--', '-')}" if "pages" in part else ""
    where = f"{place} {part['year']}{volume}{pages}".strip()
    # A title that ends with a question mark takes no full stop after it.
    return f"{named}. {part['title']}. {where}. https://doi.org/{part['doi']}".replace("?.", "?")
