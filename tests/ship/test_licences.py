"""docs/dependencies.md lists every package of the image with the licence that it declares."""

import importlib.metadata
import json
import re
import subprocess

import pytest

from bids_qsmthal import __version__
from tests.ship.conftest import HARDENED, IMAGE, ROOT
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


OF_THE_BASE = {"pip", "setuptools"}
"""What Python's own image has besides; the app does not import them."""

LOOK = """
import importlib.metadata, json, pathlib
packages = {one.name: one.version for one in importlib.metadata.distributions()}
system = importlib.metadata.distributions(path=["/usr/local/lib/python3.11/site-packages"])
weak = ("certifi", "frozendict", "num2words")
texts = {
    name: "".join(file.read_text() for file in importlib.metadata.files(name) if
                  any(word in file.name for word in ("LICENSE", "LICENCE", "COPYING")))
    for name in weak
}
status = pathlib.Path("/var/lib/dpkg/status").read_text()
debian = [line.split()[1] for line in status.splitlines() if line.startswith("Package: ")]
print(json.dumps({
    "packages": packages,
    "system": sorted(one.name for one in system),
    "texts": texts,
    "debian": debian,
    "without": [p for p in debian if not pathlib.Path("/usr/share/doc", p, "copyright").exists()],
    "common": [p.name for p in pathlib.Path("/usr/share/common-licenses").iterdir()],
    "libraries": sorted(p.name.split("-")[0] for p in
                        pathlib.Path("/opt/venv/lib").rglob("*.libs/*.so*")),
}))
"""


@pytest.mark.usefixtures("docker")
def test_the_image_itself_holds_what_is_listed_with_its_notices() -> None:
    words = ["docker", "run", *HARDENED, "--entrypoint", "/opt/venv/bin/python", IMAGE, "-c", LOOK]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    packages = {normal(name): version for name, version in found["packages"].items()}
    expected = {normal(name): version for name, version in locked(ROOT / "requirements.lock")}
    assert packages == expected | {"bids-qsmthal": __version__}
    assert set(found["system"]) == OF_THE_BASE
    text = (ROOT / "docs" / "dependencies.md").read_text()
    assert all(name in text for name in OF_THE_BASE)
    for name, licence in found["texts"].items():
        assert re.search(r"Lesser General Public|Mozilla Public", licence), name
    # The LGPL goes by the text of the GPL.
    assert {"GPL-3", "LGPL-2.1", "LGPL-3", "MPL-2.0"} <= set(found["common"])
    assert found["debian"]
    assert found["without"] == []
    for library in set(found["libraries"]):
        assert re.search(rf"\b{re.escape(library)}\b", text), f"{library} is in no list"
