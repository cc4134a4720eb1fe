"""What a release says of itself is the same everywhere."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from bids_qsmthal import __version__

ROOT = Path(__file__).parents[2]


def test_every_place_has_the_same_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    image = re.search(r"^ARG VERSION=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert image is not None
    assert {project["version"], citation["version"], image[1]} == {__version__}


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda p: p.name)
def test_workflows_and_forms_are_read_by_yaml(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    if "ISSUE_TEMPLATE" in path.parts and path.stem != "config":
        assert {"name", "description", "body"} <= content.keys()
        ids = [entry["id"] for entry in content["body"] if "id" in entry]
        assert len(ids) == len(set(ids))


def test_a_release_asks_for_the_version_that_the_package_has() -> None:
    workflow = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    asked = re.search(r"grep -qx \"(.+)\" (\S+)", workflow)
    assert asked is not None
    line = asked[1].replace('\\"', '"').replace("$version", __version__)
    assert line in (ROOT / asked[2]).read_text().splitlines()
