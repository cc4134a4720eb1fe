"""What a release says of itself is the same everywhere."""

import json
import os
import re
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from bids_qsmthal import __version__
from tools import set_repository, set_version

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


def test_the_address_of_the_repository_is_set_in_every_place_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in set_repository.PLACES:
        (tmp_path / place).write_text((ROOT / place).read_text())
    monkeypatch.setattr(set_repository, "ROOT", tmp_path)
    for address in ("https://example.org/first/app", "https://example.org/lab-2/bids_qsmthal"):
        set_repository.set_repository(address)
        project = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]
        assert project["urls"] == {"Source": address}
        assert project["license"] == "MIT"
        text = (tmp_path / "CITATION.cff").read_text()
        content = yaml.safe_load(text)
        assert content["repository-code"] == address
        assert schema_errors({**content, "date-released": "2031-01-02"}) == []
        assert text.count("repository-code") == 1
    with pytest.raises(SystemExit, match="is no address"):
        set_repository.set_repository("OWNER/bids_qsmthal")


def test_the_sources_name_no_repository() -> None:
    """Nobody knows whose copy this is: an address in it would be a guess."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "urls" not in project
    assert "repository-code" not in citation()
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    pages = [ROOT / name for name in listed if name.endswith((".md", ".yml", ".json", ".toml"))]
    named = r"\bOWNER/|(github\.com|ghcr\.io|docker://)\S*/bids_qsmthal"
    assert [str(path) for path in pages if re.search(named, path.read_text())] == []


def citation() -> dict[str, Any]:
    content = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    # YAML reads a date where the schema has a string.
    return {**content, "date-released": f"{content['date-released']:%Y-%m-%d}"}


def schema_errors(content: object) -> list[str]:
    # The schema of the Citation File Format 1.2.0 (CC BY 4.0, its authors:
    # https://doi.org/10.5281/zenodo.5171937), as it comes with cffconvert 2.0.0, without spaces.
    schema = json.loads(Path(__file__).with_name("citation-1.2.0.schema.json").read_text())
    validator = jsonschema.Draft7Validator(schema, format_checker=jsonschema.FormatChecker())
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(content)]


def test_the_citation_is_valid_in_its_format() -> None:
    assert schema_errors(citation()) == []
    (refused,) = schema_errors({**citation(), "licence": "MIT"})
    assert "'licence' was unexpected" in refused


def test_the_citation_names_what_the_package_is() -> None:
    content = citation()
    assert content["license"] == metadata.metadata("bids_qsmthal")["License-Expression"]
    keywords = {word.casefold() for word in content["keywords"]}
    assert {"bids app", "multiple sclerosis", "thalamus", "iron"} <= keywords
    released = f"## [{content['version']}] - {content['date-released']}\n"
    assert released in (ROOT / "CHANGELOG.md").read_text()
    assert [work["doi"] for work in content["references"]] == ["10.3174/ajnr.A5537"]


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
    assert f"## [{__version__}]" in notes
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


def test_the_image_has_a_name_that_a_registry_takes(tmp_path: Path) -> None:
    (step,) = [script for _, script in scripts() if "IMAGE=" in script]
    environment = {
        **os.environ,
        "GITHUB_REPOSITORY": "Some-Lab/bids_QSMthal",
        "GITHUB_ENV": str(tmp_path / "env"),
    }
    subprocess.run(["bash", "-ec", step], check=True, env=environment)
    assert (tmp_path / "env").read_text() == "IMAGE=ghcr.io/some-lab/bids_qsmthal\n"


def test_the_notes_of_a_release_are_its_section_of_the_changelog(tmp_path: Path) -> None:
    (step,) = [script for _, script in scripts() if "gh release" in script]
    notes = next(line for line in step.splitlines() if "notes.md" in line)
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## [Unreleased]\n\nlater\n\n## [1.2.0] - 2031-01-02\n\nthis\n\n"
        "## [1x2.0] - 2031-01-02\n\n### A heading\n\n## [1.1.0] - 2030-01-02\n\nbefore\n"
    )
    for version, expected in (("1.2.0", ["this"]), ("1.1.0", ["before"])):
        environment = {**os.environ, "GITHUB_REF_NAME": f"v{version}"}
        subprocess.run(["bash", "-ec", notes], check=True, cwd=tmp_path, env=environment)
        assert (tmp_path / "notes.md").read_text().split() == expected


def test_a_release_asks_for_the_version_that_the_package_has() -> None:
    workflow = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    asked = re.search(r"grep -qx \"(.+)\" (\S+)", workflow)
    assert asked is not None
    line = asked[1].replace('\\"', '"').replace("$version", __version__)
    assert line in (ROOT / asked[2]).read_text().splitlines()
