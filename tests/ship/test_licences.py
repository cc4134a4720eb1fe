"""docs/dependencies.md lists every package of the image with the licence that it declares."""

import importlib.metadata
import re

import pytest

from tests.ship.conftest import ROOT
from tests.ship.test_locks import locked, normal

FAMILIES = {
    "AGPL": r"AGPL|Affero",
    "Apache": r"Apache",
    "BSD": r"BSD",
    "GPL": r"(?<![AL])GPL|(?<!Lesser )General Public",
    "ISC": r"\bISC\b",
    "LGPL": r"LGPL|Lesser General Public",
    "MIT": r"\bMIT\b",
    "MPL": r"MPL|Mozilla",
    "PSF": r"PSF|Python Software Foundation|matplotlib",
}
COPYLEFT = {"AGPL", "GPL", "LGPL", "MPL"}


def families(words: str) -> set[str]:
    return {name for name, pattern in FAMILIES.items() if re.search(pattern, words)}


def declared(package: str) -> set[str]:
    """The families of licences that the metadata of an installed package name."""
    metadata = importlib.metadata.metadata(package)
    classifiers = [c for c in metadata.get_all("Classifier") or [] if c.startswith("License ::")]
    first = (metadata.get("License") or "").strip().splitlines()[:1]
    for words in (metadata.get("License-Expression") or "", " ".join(classifiers), *first):
        if found := families(words):
            return found
    return set()


def listed() -> dict[str, str]:
    text = (ROOT / "docs" / "dependencies.md").read_text()
    table = text.partition("| licence | packages |")[2].partition("\n\n")[0]
    rows = [
        line.strip("| ").split(" | ") for line in table.splitlines() if ", " in line or "|" in line
    ]
    return {
        normal(name): licence
        for licence, names in (row for row in rows if len(row) == 2)
        for name in names.split(", ")
    }


def in_the_image() -> set[str]:
    return {normal(name) for name, _ in locked(ROOT / "requirements.lock")}


def test_the_list_is_that_of_the_image() -> None:
    assert set(listed()) == in_the_image()


@pytest.mark.parametrize("package", sorted(in_the_image()))
def test_a_package_declares_the_licence_that_is_listed(package: str) -> None:
    assert declared(package), "it declares none: look at its licence file"
    assert families(listed()[package]) == declared(package)


def test_copyleft_is_named_and_its_text_is_installed() -> None:
    text = (ROOT / "docs" / "dependencies.md").read_text()
    copyleft = {name for name in in_the_image() if declared(name) & COPYLEFT}
    assert copyleft == {"certifi", "frozendict", "num2words"}
    for name in copyleft:
        assert f"**{name}**" in text
        files = importlib.metadata.files(name) or []
        texts = [f.read_text() for f in files if re.search(r"LICEN[SC]E|COPYING", f.name)]
        assert any(re.search(r"Lesser General Public|Mozilla Public", text) for text in texts)
