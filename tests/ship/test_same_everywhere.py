"""The same participants on each executor and in each container: the same bytes as here.

One is whole, one is damaged. Code is compiled for one kind of processor, as in the container,
which has linear algebra for that kind, too.
"""

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from bids_qsmthal.app.cli import main
from tests import tiny
from tests.seam import Study, asked_for
from tests.ship.conftest import HARDENED, IMAGE, ROOT
from tests.ship.test_executors import kill_who_works_on

pytestmark = pytest.mark.slow

WHOLE, DAMAGED = "sub-01", "sub-02"
WORKING = "field, background, susceptibility ... ("  # a stage that has begun, in a log
ENVIRONMENT = {
    "NUMBA_CPU_NAME": "x86-64-v3",
    "NUMBA_CPU_FEATURES": "",
    "OPENBLAS_CORETYPE": "Haswell",
    "PYTHONPATH": str(ROOT),
}
OPTIONS = ("--derivatives", "mine={labels}", "--omp-nthreads", "1", "--seed", "7")


@pytest.fixture(scope="module")
def dataset() -> Iterator[Path]:
    """A dataset outside of pytest's folder, which every start of pytest closes to other users."""
    with tempfile.TemporaryDirectory(prefix="everywhere-", ignore_cleanup_errors=True) as name:
        root = Path(name)
        root.chmod(0o755)
        tiny.write_dataset(root, WHOLE, DAMAGED)
        for damaged in (root / "bids" / DAMAGED).rglob("*echo-2_part-phase*.nii.gz"):
            damaged.write_bytes(damaged.read_bytes()[:2000])
        yield root


def command(root: Path, out: str, *more: str) -> list[str]:
    options = [word.format(labels=root / "labels") for word in OPTIONS]
    folders = [str(root / "bids"), str(root / out)]
    work = ["--work-dir", str(root / f"work-{out}")]
    return [*folders, "participant", "group", *work, *options, *more]


def run(words: Sequence[str]) -> str:
    """Run a command that has one damaged participant, and return what it said."""
    done = subprocess.run(
        words, env=os.environ | ENVIRONMENT, capture_output=True, text=True, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert f"FAILED {DAMAGED}" in said
    return said


def app(root: Path, out: str, *more: str) -> str:
    return run([sys.executable, "-m", "bids_qsmthal", *command(root, out, *more)])


def results(out: Path) -> dict[str, bytes]:
    """Tables, images and sidecars of the participant; logs and pages name the command."""
    found = [path for name in (WHOLE, "group") for path in (out / name).rglob("*")]
    kept = [path for path in found if path.name.endswith((".tsv", ".nii.gz", ".json"))]
    return {str(path.relative_to(out)): path.read_bytes() for path in kept}


@pytest.fixture(scope="module")
def expected(dataset: Path) -> dict[str, bytes]:
    app(dataset, "local")
    found = results(dataset / "local")
    assert f"{WHOLE}/anat/{WHOLE}_desc-qsmthal_measures.tsv" in found
    assert "group/measures.tsv" in found
    return found


Check = Callable[[Path], None]


@pytest.fixture
def check(expected: dict[str, bytes]) -> Check:
    """Compares a folder with the local run and names what differs."""

    def same(out: Path) -> None:
        found = results(out)
        assert sorted(found) == sorted(expected)
        assert [name for name in found if found[name] != expected[name]] == []

    return same


def test_dask_with_a_worker_killed(dataset: Path, check: Check, scheduler: str) -> None:
    out = dataset / "dask"

    def begun() -> bool:
        return any(WORKING in log.read_text() for log in (out / "logs").glob(f"{WHOLE}_*.log"))

    killer = threading.Thread(target=kill_who_works_on, args=(out, WHOLE, begun))
    killer.start()
    said = app(dataset, "dask", "--executor", "dask", "--scheduler-address", scheduler)
    killer.join()
    check(out)
    assert "Dask's dashboard: http" in said
    assert len(list((out / "logs").glob(f"{WHOLE}_*.log"))) == 1
    log = next((out / "logs").glob(f"{WHOLE}_*.log")).read_text()
    assert log.count(WORKING) == 2, "it was killed and started again"


@pytest.mark.usefixtures("slurm")
def test_slurm(dataset: Path, check: Check) -> None:
    limits = "--slurm-args=--mem=1500M --time=10"
    said = app(dataset, "slurm", "--executor", "slurm", limits)
    check(dataset / "slurm")
    assert "the group level runs as job" in said


@pytest.mark.usefixtures("slurm")
def test_four_scans_on_slurm(seam_study: Study, tmp_path: Path) -> None:
    """Against the run on Dask, with which tests/restart compares runs on this machine."""
    out = seam_study.root / "slurm"  # beside the other: provenance names the way to the dataset
    words = [str(seam_study.bids), str(out), "participant", "group"]
    words += ["-w", str(tmp_path / "work"), "--omp-nthreads", "1", *asked_for(seam_study.root)]
    words += ["--executor", "slurm", "--slurm-args=--mem=4000M --time=30"]
    done = subprocess.run([sys.executable, "-m", "bids_qsmthal", *words], check=False)
    assert done.returncode == 0
    assert main(["verify", str(seam_study.out), str(out)]) == 0


@pytest.mark.usefixtures("slurm")
def test_a_script_of_slurm_with_a_dependent_group_level(dataset: Path, check: Check) -> None:
    """One participant a task, each calling the app with its label, as docs/clusters.md has it."""
    script = dataset / "participants.sh"
    words = command(dataset, "script", "--participant-label", "$label", "--nprocs", "1")
    words.remove("group")
    script.write_text(
        "#!/bin/bash\n"
        f'label=$(ls -d {dataset}/bids/sub-* | sed -n "$((SLURM_ARRAY_TASK_ID + 1))p")\n'
        "label=${label##*/sub-}\n"
        f"{sys.executable} -m bids_qsmthal {' '.join(words)}\n"
    )
    group = command(dataset, "script")
    group.remove("participant")
    submit = [
        *("sbatch", "--parsable", "--mem=1500M", "--chdir", str(dataset), "--output=%A_%a.out")
    ]
    environment = os.environ | ENVIRONMENT
    array = subprocess.run(
        [*submit, "--array=0-1", str(script)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    wrapped = f"{sys.executable} -m bids_qsmthal {' '.join(group)}"
    done = subprocess.run(
        [*submit, "--wait", f"--dependency=afterany:{array}", f"--wrap={wrapped}"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    check(dataset / "script")


def in_docker(root: Path, out: str, *more: str, entrypoint: str = IMAGE) -> list[str]:
    """Return the command of an unknown user in a locked container; paths are the same inside."""
    (root / out).mkdir(exist_ok=True)
    (root / out).chmod(0o777)
    mounts = [f"{root / name}:{root / name}:ro" for name in ("bids", "labels")]
    mounts.append(f"{root / out}:{root / out}")
    volumes = [word for mount in mounts for word in ("-v", mount)]
    return ["docker", "run", *HARDENED, *volumes, "--entrypoint", entrypoint, IMAGE, *more]


@pytest.mark.usefixtures("docker")
def test_docker_as_an_unknown_user(dataset: Path, check: Check) -> None:
    out = dataset / "docker"
    words = command(dataset, "docker/out")
    words[words.index("--work-dir") + 1] = str(out / "work")
    said = run(in_docker(dataset, "docker", *words))
    check(out / "out")
    assert "2 side by side" in said or "1 side by side" in said
    compiled = {path.name for path in (out / "work" / "caches" / "numba").rglob("*.nbc")}
    listed = subprocess.run(
        in_docker(
            dataset,
            "docker",
            "/opt/venv/share/bids_qsmthal/caches/numba",
            "-name",
            "*.nbc",
            entrypoint="find",
        ),
        capture_output=True,
        text=True,
        check=True,
    )
    assert compiled == {Path(line).name for line in listed.stdout.splitlines()}, (
        "nothing is compiled at run time"
    )
    validator = in_docker(
        dataset, "docker", str(dataset / "bids"), entrypoint="bids-validator-deno"
    )
    subprocess.run(validator, check=True)


def test_apptainer_as_an_ordinary_user(dataset: Path, check: Check, sif: Path) -> None:
    out = dataset / "apptainer"
    out.mkdir()
    out.chmod(0o777)
    words = command(dataset, "apptainer/out")
    words[words.index("--work-dir") + 1] = str(out / "work")
    binds = [f"{dataset / name}:{dataset / name}:ro" for name in ("bids", "labels")]
    binds.append(f"{out}:{out}")
    call = ["apptainer", "-q", "run", "--containall", "--cleanenv", "--no-home"]
    call += [word for bind in binds for word in ("-B", bind)]
    call += [str(sif), *words]
    run([*("runuser", "-u", "ctuser", "--"), *call] if os.getuid() == 0 else call)
    check(out / "out")
    assert {path.owner() for path in (out / "out").rglob("*.tsv")} != {"root"}
