"""What a release says of itself is the same everywhere."""

import os
import re
import subprocess
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


def test_the_citation_has_what_its_format_asks_for() -> None:
    # Citation File Format 1.2.0, https://doi.org/10.5281/zenodo.5171937.
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "version", "date-released", "license"} <= set(citation)
    assert citation["type"] in {"software", "dataset"}
    assert citation["license"] == metadata.metadata("bids_qsmthal")["License-Expression"]
    assert len(citation["keywords"]) == len(set(citation["keywords"])) > 0
    for work in (citation, *citation["references"]):
        assert work["title"].strip()
        for author in work["authors"]:
            assert set(author) in ({"name"}, {"family-names", "given-names"})
    for work in citation["references"]:
        assert {"type", "journal", "year", "doi"} <= set(work)
        assert re.fullmatch(r"10\.\d{4,9}/\S+", work["doi"])


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda p: p.name)
def test_workflows_and_forms_are_read_by_yaml(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    if "ISSUE_TEMPLATE" in path.parts and path.stem != "config":
        assert {"name", "description", "body"} <= content.keys()
        ids = [entry["id"] for entry in content["body"] if "id" in entry]
        assert len(ids) == len(set(ids))


def scripts() -> list[tuple[str, str]]:
    """Return the shell steps of all workflows, each with a name for messages."""
    return [
        (f"{path.name}: {step['run'].splitlines()[0]}", step["run"])
        for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))
        for job in yaml.safe_load(path.read_text())["jobs"].values()
        for step in job.get("steps", ())
        if "run" in step
    ]


def test_every_shell_step_of_a_workflow_is_a_script() -> None:
    assert len(scripts()) > 5
    for name, script in scripts():
        bash = subprocess.run(
            ["bash", "-n"], check=False, input=script, text=True, capture_output=True
        )
        assert bash.returncode == 0, f"{name}: {bash.stderr}"
        # An expression of GitHub in a script is code of whoever names a branch: env: takes it.
        assert "${{" not in script, name


def test_a_release_runs_its_first_step_and_refuses_another_tag(tmp_path: Path) -> None:
    (step,) = [script for _, script in scripts() if "grep -qx" in script]
    notes = (ROOT / "CHANGELOG.md").read_text()
    if f"## [{__version__}]" not in notes:
        notes += f"\n## [{__version__}] - 2031-01-02\n"
    (tmp_path / "CHANGELOG.md").write_text(notes)
    (tmp_path / "bids_qsmthal").mkdir()
    version = (ROOT / "bids_qsmthal" / "__init__.py").read_text()
    (tmp_path / "bids_qsmthal" / "__init__.py").write_text(version)
    for tag, expected in ((f"v{__version__}", 0), ("v99.0.0", 1)):
        # GitHub runs a step so.
        bash = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step],
            check=False,
            cwd=tmp_path,
            env={**os.environ, "GITHUB_REF_NAME": tag},
        )
        assert bash.returncode == expected, tag


def test_a_release_asks_for_the_version_that_the_package_has() -> None:
    workflow = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    asked = re.search(r"grep -qx \"(.+)\" (\S+)", workflow)
    assert asked is not None
    line = asked[1].replace('\\"', '"').replace("$version", __version__)
    assert line in (ROOT / asked[2]).read_text().splitlines()
