"""What people read: spelling, links, and words that nobody outside of this project knows."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PAGES = sorted(
    path.relative_to(ROOT)
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"))
    if path.is_file()
)
READ = [
    *(page for page in PAGES if page.name != "CHANGELOG.md"),  # what was, was called so
    *(
        path.relative_to(ROOT)
        for pattern in ("report/*.py", "report/templates/*.html", "report/templates/*.yaml")
        for path in sorted((ROOT / "bids_qsmthal").glob(pattern))
    ),
    Path("bids_qsmthal/app/options.py"),
    Path("bids_qsmthal/roi/quality.py"),
]
"""Texts for people, and the modules whose sentences people read."""

PRIVATE = (
    *(r"spoil(s|t|ed)?", r"hangs? on", r"made from what ran", r"what was found is said"),
    *(r"gross failure", r"written ladder", r"brought", r"wins over", r"is believed"),
)
"""Words of the people who wrote it: what they mean is said otherwise (docs/terms.md)."""


@pytest.mark.parametrize("path", READ, ids=str)
def test_no_text_speaks_in_words_of_its_writers(path: Path) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    found = re.findall(rf"\b(?:{'|'.join(PRIVATE)})\b", text, flags=re.IGNORECASE)
    assert found == []


def slug(heading: str) -> str:
    """The anchor that GitHub and the site give a heading."""
    plain = re.sub(r"[`*\\]|\[|\]\([^)]*\)", "", heading.strip().lower())
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def prose(path: Path) -> str:
    """A page without its listings."""
    listing = re.compile(r"^```.*?^```", flags=re.MULTILINE | re.DOTALL)
    return listing.sub("", path.read_text(encoding="utf-8"))


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(path), flags=re.MULTILINE)
    return {slug(heading) for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading_that_are_there(path: Path) -> None:
    page = ROOT / path
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):  # the web: `sphinx-build -b linkcheck docs OUT`
            continue
        name, _, anchor = target.partition("#")
        place = (page.parent / name).resolve() if name else page
        # Reference pages are made with the site, from the code.
        if place.parent.name == "reference" and place.parent.parent == ROOT / "docs":
            continue
        if not place.exists() or (anchor and anchor not in anchors(place)):
            broken.append(target)
    assert broken == []


def test_a_heading_has_the_anchor_that_links_use() -> None:
    assert slug("Pages without a new computation") == "pages-without-a-new-computation"
    assert slug("R2\\*, `--atlas` and [this](x.md)") == "r2---atlas-and-this"


def test_no_word_is_misspelled() -> None:
    places = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "docs", "bids_qsmthal", "tests"]
    # Not by its name: the tests may run in an environment that is not on the PATH.
    command = [sys.executable, "-m", "codespell_lib", *places]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.stdout == ""
    assert ran.returncode == 0, ran.stderr
