"""Group outputs are written whole: whoever reads them sees the old set or the new one."""

import hashlib
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bids_qsmthal.bids import manifest
from bids_qsmthal.core import files
from bids_qsmthal.core.errors import ExitCode
from tests import cohorts
from tests.restart.victims import AtTouch, Counted, Server

ANALYSIS = """
Name: {name}
Variables:
  chi: {{Measure: chi_relative_csf, Region: thalamus, Hemisphere: LR, Units: ppb}}
  {covariate}: {{Columns: [{covariate}]}}
Models:
  - {{Name: {name}, Formula: chi ~ {covariate}}}
"""

LATE = 30
"""Touches of the output folder from the swap to the end: some for each file of the old set."""


def written(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("swap")
    _, out = cohorts.write(cohorts.simulated(5, np.random.default_rng(5), {}), root)
    out.rename(root / "out")
    for name, covariate in (("old", "age"), ("new", "disease_duration")):
        (root / f"{name}.yaml").write_text(ANALYSIS.format(name=name, covariate=covariate))
    return root


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as forking:
        yield forking


@dataclass(frozen=True)
class Case:
    """A study whose group level there is, and what another analysis puts in its place."""

    server: Server
    before: Path
    old: dict[str, str]
    new: dict[str, str]
    touches: int
    """How often the second one touches the output folder."""

    @property
    def root(self) -> Path:
        return self.before.with_name("root")

    @property
    def out(self) -> Path:
        return self.root / "out"

    def again(self) -> None:
        """Put the old set back."""
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self.before, self.root)

    def replaced(self, *moments: int) -> list[int]:
        """Let commands replace the old set at one time, each killed at a moment, 0 for never."""
        words = command(self.root, "new")
        return self.server.at_once([(words, "group", AtTouch(self.out, int(n))) for n in moments])

    def read(self) -> dict[str, str]:
        """Return what a reader sees, where it is what the manifest lists."""
        for entry in manifest.read_of(self.out, "group"):
            assert entry.sha256 == manifest.digest(self.out / entry.path)
        return written(self.out / "group")


def command(root: Path, name: str) -> list[str]:
    analysis = str(root / f"{name}.yaml")
    return [str(root / "bids"), str(root / "out"), "group", "--analysis", analysis]


@pytest.fixture(scope="module")
def case(study: Path, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Case:
    assert server.run(command(study, "old"), "group", AtTouch(study, 0)) == 0
    old = written(study / "out" / "group")
    place = tmp_path_factory.mktemp("case")
    before = Path(shutil.copytree(study, place / "before"))
    counted = Counted(study / "out", place / "count")
    assert server.run(command(study, "new"), "group", counted) == 0
    new = written(study / "out" / "group")
    assert old != new
    return Case(server, before, old, new, int(counted.into.read_text()))


@pytest.mark.slow
def test_a_reader_sees_the_old_set_or_the_new_one_whenever_the_run_is_killed(case: Case) -> None:
    rng = np.random.default_rng(8)
    # Half of them anywhere, half while the folders change places and the old one is removed.
    anywhere = rng.choice(case.touches - LATE, size=5, replace=False) + 1
    moments = [*anywhere, *(case.touches - rng.choice(LATE, size=5, replace=False))]
    seen = []
    for moment in [*moments, case.touches]:
        case.again()
        assert case.replaced(moment) == [-signal.SIGKILL]
        seen.append(case.read())
        assert seen[-1] in (case.old, case.new), moment
    assert case.old in seen
    assert case.new in seen
    check_that_nothing_is_left(case)


@pytest.mark.slow
def test_a_reader_sees_the_old_set_or_the_new_one_whoever_of_eight_is_killed(case: Case) -> None:
    """Eight at once, of which six are killed, three times."""
    rng = np.random.default_rng(9)
    for _ in range(3):
        case.again()
        killed = rng.choice(case.touches, size=6, replace=False) + 1
        ended = case.replaced(*killed, 0, 0)
        assert set(ended) <= {0, ExitCode.TEMPORARY, -signal.SIGKILL}
        assert -signal.SIGKILL in ended
        assert case.read() in (case.old, case.new)
        assert case.replaced(0) == [0]
        assert case.read() == case.new
        check_that_nothing_is_left(case)


def check_that_nothing_is_left(case: Case) -> None:
    files.sweep_folders(case.out / "group")
    assert not list(case.out.glob(".group.*"))
