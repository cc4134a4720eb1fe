"""The reader's bench in the image: a published port arrives, and the token is asked for."""

import json
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.ship.conftest import HARDENED, IMAGE
from tests.view.conftest import write_scan

NAME = "qsmthal-view"
PORT = 8765
ASKED = """
import sys, urllib.error, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1]).read().decode())
except urllib.error.HTTPError as error:
    print(error.code)
"""


def engine(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=False)


def asked_here(address: str) -> str:
    try:
        with urllib.request.urlopen(address) as answer:  # noqa: S310 - this machine's
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return str(error.code)


@dataclass(frozen=True)
class Served:
    """A container that serves, and how it is asked."""

    token: str
    ask: Callable[[str], str]


def is_started(folder: Path, *network: str) -> bool:
    """Return whether a container of our name serves a folder now."""
    # Not that of the runs of the app, which have no network.
    hardened = [word for word in HARDENED if word not in {"--network", "none", "--rm"}]
    named = ("--name", NAME, "-v", f"{folder}:/out")
    done = engine(
        *("run", "-d", *hardened, *network, *named, IMAGE, "view", "/out", "--no-browser")
    )
    if done.returncode:
        engine("rm", "-f", NAME)
    return done.returncode == 0


def token() -> str:
    """Return the token once the address was printed."""
    end = time.monotonic() + 300
    address = re.compile(rf"http://127.0.0.1:{PORT}/([\w-]+)/")
    while not (found := address.search(engine("logs", NAME).stdout)):
        assert time.monotonic() < end, engine("logs", NAME)
        time.sleep(0.2)
    return found[1]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """Reached as a reader does, or from inside where this engine makes no network."""
    out = tmp_path / "out"
    write_scan(out, "sub-01", -20.0)
    out.chmod(0o777)
    engine("network", "create", NAME)
    try:
        if is_started(out, "--network", NAME, "-p", f"127.0.0.1:0:{PORT}"):
            place = engine("port", NAME, str(PORT)).stdout.split()[0]
            yield Served(token(), lambda path: asked_here(f"http://{place}/{path}"))
        else:
            assert is_started(out, "--network", "none")
            inside = ("exec", NAME, "python", "-c", ASKED, f"http://127.0.0.1:{PORT}/")
            yield Served(
                token(), lambda path: engine(*inside[:-1], inside[-1] + path).stdout.strip()
            )
    finally:
        engine("rm", "-f", NAME)
        engine("network", "rm", NAME)


@pytest.mark.usefixtures("docker")
def test_a_published_port_reaches_the_page_and_the_token_is_asked_for(served) -> None:
    rows = json.loads(served.ask(f"{served.token}/api/participants"))["rows"]
    assert [row["name"] for row in rows] == ["sub-01"]
    assert served.ask("wrong/api/participants") == "403"
    # Ctrl-C, as the terminal sends it.
    engine("kill", "-s", "INT", NAME)
    assert engine("wait", NAME).stdout.strip() == "130"
