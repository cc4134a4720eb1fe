"""The methods text where readers look for it: at the end of a page, and beside the results."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from bids_qsmthal.core.errors import at
from bids_qsmthal.core.files import write_text
from bids_qsmthal.report import methods
from bids_qsmthal.report.page import Block, Listing, Prose, Section

if TYPE_CHECKING:
    from pathlib import Path

    from bids_qsmthal.report.methods_run import MethodsRun

ENDING = "_CITATION"

INTRODUCTION = """\
# How to cite

These derivatives were made with bids_qsmthal, which automates the analysis of Chiang GC, Hu J,
Morris E, Wang Y, Gauthier SA. Quantitative susceptibility mapping of the thalamus: relationships
with thalamic volume, total gray matter volume, and T2 lesion burden. AJNR Am J Neuroradiol
2018;39(3):467-472. doi:10.3174/ajnr.A5537.

What follows describes the steps of this run, and is free to be used word for word. BibTeX of all
that is cited is in CITATION.bib.
"""


def section(run: MethodsRun) -> Section:
    """Return the section of a page that says what ran (see ``methods.describe``)."""
    described = methods.describe(run)
    blocks: list[Block] = [Prose(part.text, part.heading) for part in described.paragraphs]
    numbered = [f"{n}. {work.formatted}" for n, work in enumerate(described.references, 1)]
    blocks.append(Prose("\n\n".join(numbered), "References"))
    blocks.append(Listing("Markdown, to copy into a paper", described.markdown, folded=True))
    blocks.append(Listing("BibTeX", described.bibtex, folded=True))
    return Section("Methods", blocks)


def write(folder: Path, name: str, run: MethodsRun) -> None:
    """Write the methods of one page as ``name_CITATION.md`` and ``.bib`` into a folder."""
    described = methods.describe(run)
    write_text(folder / f"{name}{ENDING}.md", described.markdown)
    write_text(folder / f"{name}{ENDING}.bib", described.bibtex)


def write_dataset(output_dir: Path) -> None:
    """Write ``CITATION.md`` and ``CITATION.bib`` of a derivative dataset.

    They join what ``write`` left in ``logs``: each text once, under the names of all it is of.
    """
    texts: dict[str, list[str]] = defaultdict(list)
    entries: dict[str, None] = {}
    # Participants first, the group level last.
    paths = (output_dir / "logs").glob(f"*{ENDING}.md")
    for path in sorted(paths, key=lambda path: (not path.name.startswith("sub-"), path.name)):
        # The text itself is the key: participants with the same methods share one chapter.
        with at(path):
            text, bibtex = (
                place.read_text(encoding="utf-8") for place in (path, path.with_suffix(".bib"))
            )
        texts[text].append(path.name.removesuffix(f"{ENDING}.md"))
        # An entry is one line in bibliography.bib, so equal lines are equal works.
        entries |= dict.fromkeys(bibtex.splitlines())
    parts = [f"# Methods: {', '.join(names)}\n\n{text}" for text, names in texts.items()]
    write_text(output_dir / "CITATION.md", "\n".join([INTRODUCTION, *parts]))
    write_text(output_dir / "CITATION.bib", "".join(f"{entry}\n" for entry in sorted(entries)))
