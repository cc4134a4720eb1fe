"""What a release says of itself is the same everywhere."""

import re
from importlib import metadata
from pathlib import Path

import pytest
import yaml

from bids_qsmthal import __version__
from tools import set_version

ROOT = Path(__file__).parents[2]


def test_every_place_has_the_same_version() -> None:
    found = set_version.versions()
    assert all(found.values()), found
    assert {version for place in found.values() for version in place} == {__version__}
    assert metadata.version("bids_qsmthal") == __version__, "pip install -e . again"


def test_a_version_is_set_in_every_place_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in (*set_version.PLACES, "CHANGELOG.md"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text((ROOT / place).read_text())
    monkeypatch.setattr(set_version, "ROOT", tmp_path)
    set_version.set_version("12.0.3", "2031-01-02")
    assert {version for place in set_version.versions().values() for version in place} == {"12.0.3"}
    citation = yaml.safe_load((tmp_path / "CITATION.cff").read_text())
    assert str(citation["date-released"]) == "2031-01-02"
    assert (
        "## [Unreleased]\n\n## [12.0.3] - 2031-01-02\n" in (tmp_path / "CHANGELOG.md").read_text()
    )


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
