"""One truth for versions: constraints.txt; tools/lock.sh adds the hashes, and nothing else."""

from pathlib import Path

import pytest

from tests.ship.conftest import ROOT


def locked(path: Path) -> list[tuple[str, str]]:
    lines = path.read_text().splitlines()
    pins = [line.split()[0].split("==") for line in lines if "==" in line and line[0].isalpha()]
    return [(name, version) for name, version in pins]


def normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-build.lock"])
def test_locks_have_the_versions_of_the_constraints_and_hashes(name: str) -> None:
    text = (ROOT / name).read_text()
    pins = {normal(package): version for package, version in locked(ROOT / name)}
    constraints = {
        normal(package): version for package, version in locked(ROOT / "constraints.txt")
    }
    assert text.count("--hash=sha256:") >= len(pins)
    differ = {package for package in pins if pins[package] != constraints.get(package)}
    assert differ == set()
