"""DataLad repeats an analysis, and BABS sends one through Slurm: both as the documents say."""

import os
import re
import time
import zipfile
from pathlib import Path

import pytest
import yaml

from bids_qsmthal import __version__
from tests import tiny
from tests.ship.documents import Environment, blocks, exchanged, shell

FAST = "--inversion tkd --background v-sharp --nprocs 1"
WAIT_S = 1200  # far more than it takes: tests share the machine


@pytest.fixture(scope="module")
def environment(datalad: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """What DataLad needs: its programs first on the path, and somebody who commits."""
    home = tmp_path_factory.mktemp("home")
    (home / ".gitconfig").write_text("[user]\n\tname = check\n\temail = check@example.org\n")
    # Root in a container may lack a capability that Apptainer asks for unless told not to.
    private = {"APPTAINER_NO_PRIVS": "1"} if os.getuid() == 0 else {}
    return {
        **os.environ,
        **private,
        "HOME": str(home),
        "PATH": f"{datalad}{os.pathsep}{os.environ['PATH']}",
    }


@pytest.fixture(scope="module")
def study(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two datasets without content; it lies in a second repository, as OpenNeuro's in a store."""
    place = tmp_path_factory.mktemp("study")
    tiny.write_dataset(place, "sub-01", "sub-02")
    for name in ("bids", "labels"):
        shell(
            f"datalad create --force {name}\n"
            f"datalad save -d {name} -m raw\n"
            f"datalad clone {name} store/{name}\n"
            f"cd {name}\n"
            f"git annex initremote store type=git location={place}/store/{name} autoenable=true\n"
            "git annex move --to store .",
            place,
            environment,
        )
    return place


def here(dataset: Path, environment: Environment) -> list[str]:
    """Return the annexed files of a dataset whose content is in this clone."""
    return shell("git annex find --in here", dataset, environment).splitlines()


def test_an_analysis_is_repeated_byte_for_byte(
    study: Path, sif: Path, environment: Environment, tmp_path: Path
) -> None:
    make, repeat = blocks("reanalysis.md")[:2]
    words = f"participant group -d mine=sourcedata/labels {FAST} -w {tmp_path}/work"
    clone = f"datalad clone -d . {study}/labels sourcedata/labels\n"
    shell(
        exchanged(
            make,
            ("https://github.com/OpenNeuroDatasets/dsXXXXXX.git", f"{study}/bids"),
            ("$PWD/../qsmthal.sif", str(sif)),
            ("-i sourcedata/raw ", "-i sourcedata/raw -i sourcedata/labels "),
            ("participant group -w /tmp/qsmthal-work", words),
            ("# The image", f"{clone}# The image"),
        ),
        tmp_path,
        environment,
    )
    analysis = tmp_path / "qsmthal-analysis"
    raw = analysis / "sourcedata" / "raw"
    files = shell("git ls-files derivatives", analysis, environment).splitlines()
    assert "derivatives/sub-02/anat/sub-02_Chimap.nii.gz" in files
    assert "derivatives/group/models.tsv" in files
    assert here(raw, environment)

    shell(f"rm -r {tmp_path}/work", tmp_path, environment)
    drop, _, again = repeat.partition("datalad rerun")
    shell(drop, analysis, environment)
    assert here(raw, environment) == []
    shell("datalad rerun" + again, analysis, environment)
    assert here(raw, environment), "the images were not fetched again"
    changed = shell("git diff --name-only HEAD~1 -- derivatives", analysis, environment)
    assert [re.sub(r"\d{8}T\d{6}Z", "TIME", name) for name in changed.splitlines()] == [
        "derivatives/logs/settings.json",
        "derivatives/logs/sub-01_TIME.log",
        "derivatives/logs/sub-02_TIME.log",
    ]


@pytest.mark.usefixtures("slurm")
def test_babs_sends_participants_through_slurm(
    study: Path, sif: Path, datalad: Path, environment: Environment, tmp_path: Path
) -> None:
    settings, steps, group = blocks("clusters.md", "## BABS")[:3]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (tmp_path / "qsmthal.sif").symlink_to(sif)
    preamble = "export APPTAINER_NO_PRIVS=1\n  " if os.getuid() == 0 else ""
    config = exchanged(
        settings,
        ("/data/study", f"{study}/bids"),
        ("/scratch/$USER", str(scratch)),
        ("source ~/babs/bin/activate", f"{preamble}export PATH={datalad}:$PATH"),
        ("hard_memory_limit: 6G", "hard_memory_limit: 3G"),
        ('--nprocs: "2"', '--nprocs: "1"\n  --inversion: "tkd"\n  --background: "v-sharp"'),
        ('number_of_cpus: "2"', 'number_of_cpus: "1"'),
    )
    yaml.safe_load(config)
    (tmp_path / "babs.yaml").write_text(config)
    begin, _, end = exchanged(
        steps,
        ("babs check-setup qsmthal-babs --job-test", "babs check-setup qsmthal-babs"),
    ).partition("babs status qsmthal-babs\n")
    shell(begin, tmp_path, environment)
    until = time.monotonic() + WAIT_S
    while shell("squeue --noheader --name bid", tmp_path, environment):
        assert time.monotonic() < until, "the jobs do not end"
        time.sleep(1)
    state = shell("babs status qsmthal-babs", tmp_path, environment)
    logs = sorted((tmp_path / "qsmthal-babs" / "analysis" / "logs").glob("bid.*"))
    assert "2 job(s) successfully finished" in state, "".join(
        log.read_text()[-2000:] for log in logs
    )
    shell(end, tmp_path, environment)
    with zipfile.ZipFile(
        tmp_path / "results" / f"sub-01_bids_qsmthal-{__version__.replace('.', '-')}.zip"
    ) as results:
        names = results.namelist()
    assert "bids_qsmthal/sub-01/anat/sub-01_Chimap.nii.gz" in names
    assert not any("sub-02" in name for name in names)
    assert list(scratch.iterdir()) == [], "the jobs leave their folder empty"

    shell(
        exchanged(group, ("/data/study", f"{study}/bids")),
        tmp_path,
        environment,
    )
    table = (tmp_path / "bids_qsmthal" / "group" / "flow.tsv").read_text()
    assert "2" in table
