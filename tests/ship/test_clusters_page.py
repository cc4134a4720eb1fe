"""The commands of docs/clusters.md: typed as they stand, with other folders and fast methods."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests import tiny
from tests.ship.documents import Environment, blocks, exchanged, shell

FAST = "--inversion tkd --background v-sharp"
WAIT_S = 600

MORE = f"{FAST} -d mine=/labels --participant-label 01"
"""What ``/out/qsmthal participant`` gets behind it in a test."""


@pytest.fixture(scope="module")
def study() -> Iterator[Path]:
    """Two participants outside of pytest's folder, which is closed to other users."""
    with tempfile.TemporaryDirectory(prefix="clusters-", ignore_cleanup_errors=True) as name:
        root = Path(name)
        root.chmod(0o755)
        tiny.write_dataset(root, "sub-01", "sub-02")
        yield root


@pytest.fixture
def environment() -> Environment:
    """The environment of a user: the app's own commands first, no privileges that root may lack."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "APPTAINER_NO_PRIVS": "1", "PYTHONPATH": str(Path.cwd())}


@pytest.fixture
def derivatives(study: Path) -> Iterator[Path]:
    """A folder for results that anybody can write to."""
    folder = study / "derivatives"
    folder.mkdir()
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def numbers(derivatives: Path, name: str) -> int:
    """Return how many measures a participant has."""
    path = derivatives / "qsmthal" / name / "anat" / f"{name}_desc-qsmthal_measures.tsv"
    return len(pd.read_csv(path, sep="\t"))


@pytest.mark.usefixtures("docker")
def test_docker(study: Path, derivatives: Path, environment: Environment) -> None:
    first, locked = blocks("clusters.md", "## Docker")[:2]
    build, run = first.splitlines()
    assert build == "docker build -t bids_qsmthal ."
    volumes = ("-v /data/study:/data:ro", f"-v {study}/bids:/data:ro -v {study}/labels:/labels:ro")
    for script in (run, locked):
        changes = (
            volumes,
            ("/data/derivatives", str(derivatives)),
            ("participant group", f"participant {MORE}"),
        )
        shell(exchanged(script, *changes), study, environment)
        assert numbers(derivatives, "sub-01") > 20
        # Results and work folder of one user are in the way of the next one.
        for name in ("qsmthal", "work"):
            shutil.rmtree(derivatives / name)


@pytest.mark.usefixtures("slurm")
def test_an_array_of_slurm_with_apptainer(
    study: Path, derivatives: Path, sif: Path, environment: Environment
) -> None:
    participants, group, submit = blocks("clusters.md", "### With Apptainer")[:3]
    folders = (
        ("-B /data/study:/data:ro", f"-B {study}/bids:/data:ro -B {study}/labels:/labels:ro"),
        ("/data/derivatives", str(derivatives)),
        ("qsmthal.sif", str(sif)),
    )
    small = (
        ("--array=1-3 --cpus-per-task=2 --mem=6G", "--array=1-2 --cpus-per-task=1 --mem=3G"),
        ("/data/study/sub-*", f"{study}/bids/sub-*"),
        (
            "participant --participant-label",
            f"participant {FAST} -d mine=/labels --participant-label",
        ),
    )
    (study / "participants.sh").write_text(exchanged(participants, *folders, *small))
    (study / "group.sh").write_text(exchanged(group, *folders, ("--mem=6G", "--mem=3G")))
    shell(submit, study, environment)
    until = time.monotonic() + WAIT_S
    while shell("squeue --noheader --name participants.sh,group.sh", study, environment):
        assert time.monotonic() < until, "the jobs do not end"
        time.sleep(1)
    said = "".join(path.read_text()[-2000:] for path in study.glob("*.out"))
    table = derivatives / "qsmthal" / "group" / "measures.tsv"
    assert table.is_file(), said
    assert set(pd.read_csv(table, sep="\t")["participant_id"]) == {"sub-01", "sub-02"}


def test_dask(study: Path, derivatives: Path, environment: Environment) -> None:
    own, scheduled = blocks("clusters.md", "## Dask")[:2]
    more = f"participant group {FAST} -d mine={study}/labels --mem 6G"
    changes = (
        ("/data/study", f"{study}/bids"),
        ("/data/derivatives", str(derivatives)),
        ("participant group", more),
    )
    shell(exchanged(own, *changes), study, environment)
    assert numbers(derivatives, "sub-02") > 20
    shutil.rmtree(derivatives / "qsmthal")

    shared = study / "shared"
    shared.mkdir()
    fewer = (("/shared", str(shared)), ("--nworkers 4", "--nworkers 2"))
    # What the page starts in the background ends with its shell, as with a terminal.
    script = f"trap 'kill $(jobs -p)' EXIT\n{exchanged(scheduled, *changes, *fewer)}"
    shell(script, study, environment)
    assert numbers(derivatives, "sub-02") > 20
