"""What people read: spelling, links, and words that nobody outside of this project knows."""

import ast
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
    *(r"heed(?:s|ed)?", r"vouch(?:es|ed)?", r"taken apart", r"mends it"),
)
"""Words of the people who wrote it: what they mean is said otherwise (docs/terms.md)."""


@pytest.mark.parametrize("path", READ, ids=str)
def test_no_text_speaks_in_words_of_its_writers(path: Path) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    found = re.findall(rf"\b(?:{'|'.join(PRIVATE)})\b", text, flags=re.IGNORECASE)
    assert found == []


IN_MESSAGES = (
    *PRIVATE,
    *(r"mend(?:s|ed|ing)?", r"of ours", r"anew", r"is there (?:twice|already)", r"none that is"),
    *(r"are the most", r"within each other", r"nobody knows", r"nothing tells"),
)
"""Words that errors and the log had, and that a reader stumbles over."""


def messages(path: Path) -> list[str]:
    """What a module raises or logs, as the source has it."""
    source = path.read_text(encoding="utf-8")
    found = []
    for node in ast.walk(ast.parse(source)):
        logs = (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id in ("log", "logger")
        )
        if logs or isinstance(node, ast.Raise):
            found += [
                part.value
                for part in ast.walk(node)
                if isinstance(part, ast.Constant) and isinstance(part.value, str)
            ]
    return found


def test_no_error_and_no_line_of_the_log_speaks_in_words_of_its_writers() -> None:
    told = {path: messages(path) for path in (ROOT / "bids_qsmthal").rglob("*.py")}
    assert sum(map(len, told.values())) > 1000, "messages are found"
    private = re.compile(rf"\b(?:{'|'.join(IN_MESSAGES)})\b", flags=re.IGNORECASE)
    assert [
        (path.name, text) for path, texts in told.items() for text in texts if private.search(text)
    ] == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_no_page_holds_both_sides_of_a_conflict(page: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    # A row of seven "=" alone is a heading's underline in Markdown: the other two suffice.
    assert re.findall(r"^(?:<{7}|>{7}) .*$", text, flags=re.MULTILINE) == []


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


FORM_OF_DOI = re.compile(r"10\.\d{4,9}/[!-~]*[A-Za-z0-9)]")
"""Prefix of a registrant, and printable ASCII that does not end with a sign of the sentence."""

WRITTEN = [
    *PAGES,
    Path("CITATION.cff"),
    *(
        path.relative_to(ROOT)
        for pattern in ("*.py", "*.yaml", "*.bib")
        for path in sorted((ROOT / "bids_qsmthal").rglob(pattern))
    ),
]


def dois(text: str) -> list[str]:
    """Return what stands where a DOI is announced, without the signs of its sentence."""
    announced = re.findall(r"(?:doi\.org/|\bdoi:? *)(10[^\s\"'`,|}\]]*)", text)
    found = []
    for word in announced:
        bare = word.rstrip(".;:*")
        while bare.endswith(")") and bare.count(")") > bare.count("("):
            bare = bare[:-1].rstrip(".;:*")
        found.append(bare)
    return found


def test_every_doi_has_the_form_of_one() -> None:
    wrong = [
        f"{path}: {doi}"
        for path in WRITTEN
        for doi in dois((ROOT / path).read_text(encoding="utf-8"))
        if not FORM_OF_DOI.fullmatch(doi)
    ]
    assert wrong == []


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_every_address_of_the_web_is_whole_and_encrypted(path: Path) -> None:
    # Whether it answers is asked before a release (CONTRIBUTING.md), not at every test.
    text = prose(ROOT / path)
    targets = re.findall(r"\]\(([a-z]+:[^)\s]*)\)", text) + re.findall(r"<(http[^>\s]*)>", text)
    form = re.compile(r"https://[a-z0-9-]+(\.[a-z0-9-]+)+(/\S*)?", re.IGNORECASE)
    assert [target for target in targets if not form.fullmatch(target)] == []


def test_a_doi_ends_where_the_sentence_goes_on() -> None:
    text = "(doi 10.1002/mrm.3), https://doi.org/10.1/x. doi: 10.1016/S1053-8119(03)00001-2."
    assert dois(text) == ["10.1002/mrm.3", "10.1/x", "10.1016/S1053-8119(03)00001-2"]


def test_a_heading_has_the_anchor_that_links_use() -> None:
    assert slug("Pages without a new computation") == "pages-without-a-new-computation"
    assert slug("R2\\*, `--atlas` and [this](x.md)") == "r2---atlas-and-this"


def test_the_example_report_is_small_whole_and_asks_for_no_other_file() -> None:
    page = ROOT / "docs" / "gallery" / "sub-01.html"
    text = page.read_text(encoding="utf-8")
    assert page.stat().st_size < 1_500_000
    assert text.count('src="data:image/webp') >= 20
    assert re.findall(r'src="(?!data:)', text) == []
    assert re.findall(r'href="(?!#|data:|https:)[^"]*"', text) == []


def test_no_word_is_misspelled() -> None:
    places = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "docs", "bids_qsmthal", "tests"]
    # Not by its name: the tests may run in an environment that is not on the PATH.
    command = [sys.executable, "-m", "codespell_lib", *places]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.stdout == ""
    assert ran.returncode == 0, ran.stderr


def said_in_code() -> list[str]:
    """Return every module with the pieces of its sentences joined."""
    modules = (ROOT / "bids_qsmthal").rglob("*.py")
    return [re.sub(r'"\s*\n\s*f?"', "", path.read_text(encoding="utf-8")) for path in modules]


def test_every_message_that_the_questions_quote_is_one_of_the_program() -> None:
    text = (ROOT / "docs" / "faq.md").read_text(encoding="utf-8")
    titles = re.findall(r"^\*\*(.+?)\*\*", text, flags=re.MULTILINE)
    quoted = [quote for title in titles for quote in re.findall(r"`([^`]+)`", title)]
    assert len(quoted) > 15
    modules = said_in_code()
    assert [quote for quote in quoted if not any(quote in module for module in modules)] == []
