"""Group outputs are written whole: whoever reads them sees the old set or the new one."""

import hashlib
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bids_qsmthal.bids import manifest
from bids_qsmthal.core import files
from tests import cohorts

# Writes the group level of an analysis without figures, and kills itself before the n-th time
# that it touches the output folder. 0 never comes; the count of all times is printed.
RUN = """
import os, signal, sys
from pathlib import Path
root, analysis, last = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
from bids_qsmthal import group
import pandas, yaml
touched = 0
def watch(event, arguments):
    global touched
    # What is removed within a folder is named without it.
    if event in REMOVED or (event in WATCHED and str(root / "out") in str(arguments)):
        touched += 1
        if touched == last:
            os.kill(os.getpid(), signal.SIGKILL)
WATCHED = {"open", "os.rename", "os.mkdir"}
REMOVED = {"os.remove", "os.rmdir"}
sys.addaudithook(watch)
group.process(root / "bids", root / "out", analysis=analysis)
print(touched)
"""

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


def run(root: Path, name: str, last: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", RUN, str(root), str(root / f"{name}.yaml"), str(last)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_reader_sees_the_old_set_or_the_new_one_whenever_the_run_is_killed(
    study: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(study, tmp_path / "root"))
    run(root, "old")
    group = root / "out" / "group"
    old = written(group)
    before = Path(shutil.copytree(root, tmp_path / "before"))
    done = run(root, "new")
    assert done.returncode == 0, done.stderr
    new = written(group)
    assert old != new
    rng, last = np.random.default_rng(8), int(done.stdout)
    # Half of them anywhere, half while the folders change places and the old one is removed.
    anywhere = rng.choice(last - LATE, size=5, replace=False) + 1
    moments = [*anywhere, *(last - rng.choice(LATE, size=5, replace=False))]
    seen = []
    for moment in [*moments, last]:
        shutil.rmtree(root)
        shutil.copytree(before, root)
        killed = run(root, "new", int(moment))
        assert killed.returncode == -signal.SIGKILL
        seen.append(written(group))
        assert seen[-1] in (old, new), moment
        assert all(
            entry.sha256 == manifest.digest(root / "out" / entry.path)
            for entry in manifest.read_of(root / "out", "group")
        )
    assert old in seen
    assert new in seen
    files.sweep_folders(group)
    assert not list((root / "out").glob(".group.*"))
