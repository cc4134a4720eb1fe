"""The reader's bench from elsewhere: out of the image and through SSH, as docs/view.md types it."""

import json
import os
import pty
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from bids_qsmthal.core import nifti
from tests.ship.conftest import HARDENED, ROOT, missing
from tests.view.conftest import LEFT, THALAMUS, write_scan
from tests.view.test_page import FOUND, SHOWN, click, erased, wait

PORT = 8765
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/[\w-]+/")


def documented(begin: str) -> list[str]:
    """Return the words of the only command of docs/view.md that begins so."""
    lines = (ROOT / "docs" / "view.md").read_text("utf-8").splitlines()
    (line,) = [line for line in lines if line.startswith(f"{begin} ")]
    return shlex.split(line)


@dataclass(frozen=True)
class Terminal:
    """A command in a terminal of its own, and the address of the page that it printed."""

    process: subprocess.Popen[bytes]
    master: int
    address: str

    def interrupt(self) -> int:
        """Press Ctrl-C and return the exit status."""
        os.write(self.master, b"\x03")
        end = time.monotonic() + 60
        while self.process.poll() is None:
            assert time.monotonic() < end, "Ctrl-C did not end it"
            heard(self.master)
        return self.process.returncode


def heard(master: int) -> str:
    """Return what a terminal shows next; nothing where it is silent for a moment, or closed."""
    if not select.select([master], [], [], 0.2)[0]:
        return ""
    try:
        return os.read(master, 4096).decode(errors="replace")
    except OSError:
        return ""


def typed(words: list[str]) -> Terminal:
    """Type a command; return once it printed an address."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        words,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        # Without a terminal that is its own, Ctrl-C would be a letter.
        preexec_fn=own_terminal,  # noqa: PLW1509 - it calls the kernel only
    )
    os.close(slave)
    end, said = time.monotonic() + 300, ""
    while not (found := ADDRESS.search(said)):
        assert time.monotonic() < end, said
        assert process.poll() is None, said + heard(master)
        said += heard(master)
    return Terminal(process, master, found[0])


def own_terminal() -> None:
    os.close(os.open(os.ttyname(0), os.O_RDWR))


def ended(terminal: Terminal) -> None:
    """End a command that a test has left."""
    if terminal.process.poll() is None:
        os.killpg(terminal.process.pid, signal.SIGTERM)
        terminal.process.wait(60)
    os.close(terminal.master)


def written(root: Path) -> Path:
    """Write an output folder that anybody can correct, and a BIDS folder beside it."""
    out = root / "out"
    write_scan(out, "sub-01", -20.0)
    (root / "bids").mkdir()
    # For the user of the container, whoever it is.
    out.chmod(0o777)
    return out


def is_open(port: int) -> bool:
    with closing(socket.socket()) as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


def check_reader_s_way(browser, address: str, folder: Path) -> None:
    """Open the page, correct a scan and save, as a reader does."""
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{address.rsplit('/', 2)[0]}/wrong/api/participants")  # noqa: S310
    browser.open(SimpleNamespace(as_uri=lambda: address), 1280, height=600)
    wait(browser, "document.querySelectorAll('#rows button').length === 1")
    click(browser, "#rows button")
    wait(browser, f"{SHOWN} === 'sub-01 thalamus' && {FOUND}")
    browser.value("document.getElementById('reader').value = 'AB'")
    erased(browser, LEFT, "Saved edits/sub-01/anat/")
    saved = nifti.load(next((folder / "edits" / "sub-01" / "anat").glob("*.nii.gz"))).data
    assert np.argwhere(saved != THALAMUS).tolist() == [np.argwhere(LEFT)[0].tolist()]


@pytest.fixture
def bridge() -> None:
    """A network on which an engine publishes ports; without one it passes over ``-p``."""
    words = ("docker", "network", "inspect", "bridge")
    if subprocess.run(words, capture_output=True, check=False).returncode:
        missing("the bridge of the container engine")


@pytest.mark.usefixtures("docker", "bridge")
def test_in_a_container_the_published_page_is_read_and_corrected(browser, tmp_path) -> None:
    # As it is typed; then with all that the runs of the app have but their network, which is none.
    # One after the other: both have the port that is documented.
    hardened = [word for word in HARDENED if word not in {"--rm", "--network", "none"}]
    for name, more in (("typed", []), ("hardened", hardened)):
        folder = written(tmp_path / name)
        places = {"OUTPUT_DIR": str(folder), "BIDS_DIR": str(folder.parent / "bids")}
        words = documented("docker run")
        for word, place in places.items():
            words = [one.replace(word, place) for one in words]
        terminal = typed([*words[:2], *more, *words[2:]])
        try:
            check_reader_s_way(browser, terminal.address, folder)
            assert terminal.interrupt() == 130
            assert not is_open(PORT)
        finally:
            ended(terminal)
    # A folder that the container cannot write is looked at.
    terminal = typed([word.replace(":/out", ":/out:ro") for word in words])
    try:
        with urllib.request.urlopen(f"{terminal.address}api/participants") as answer:  # noqa: S310
            assert json.load(answer)["writable"] is False
    finally:
        ended(terminal)


def free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def ssh(tmp_path: Path) -> Iterator[list[str]]:
    """Start an sshd that lets nobody in but this test; give the words that reach it but a host."""
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None or shutil.which("ssh") is None:
        missing("sshd (apt-get install openssh-server openssh-client)")
    if os.getuid() == 0:
        # Debian makes it when its service starts, which it need not.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    keys, port = tmp_path / "keys", free_port()
    keys.mkdir(mode=0o700)
    for name in ("host", "reader"):
        made = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name))
        subprocess.run(made, check=True)
    lines = (
        *(f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {keys / 'host'}"),
        *(f"AuthorizedKeysFile {keys / 'reader.pub'}", "PasswordAuthentication no", "UsePAM no"),
        # The folder of the keys lies in one that all may write to.
        *("KbdInteractiveAuthentication no", "StrictModes no", "PidFile none"),
    )
    (keys / "config").write_text("\n".join(lines) + "\n", "utf-8")
    with (keys / "log").open("w") as log:
        process = subprocess.Popen([program, "-D", "-e", "-f", str(keys / "config")], stderr=log)
    try:
        end = time.monotonic() + 30
        while not is_open(port):
            assert process.poll() is None, (keys / "log").read_text()
            assert time.monotonic() < end, "sshd does not listen"
            time.sleep(0.05)
        options = ("BatchMode=yes", "StrictHostKeyChecking=no", "IdentitiesOnly=yes")
        files = (f"UserKnownHostsFile={keys / 'known'}", f"IdentityFile={keys / 'reader'}")
        named = [word for option in (*options, *files) for word in ("-o", option)]
        yield ["ssh", "-F", "none", "-p", str(port), *named]
    finally:
        process.terminate()
        process.wait(30)


def servers(folder: Path) -> list[psutil.Process]:
    """Return the processes that serve a folder."""
    found = []
    for one in psutil.process_iter(["cmdline"]):
        words = one.info["cmdline"] or []
        if "view" in words and str(folder) in words and one.status() != psutil.STATUS_ZOMBIE:
            found.append(one)
    return [one for one in found if Path(one.info["cmdline"][0]).name.startswith("python")]


def listening(process: psutil.Process) -> list:
    every = process.net_connections(kind="tcp")
    return [one for one in every if one.status == psutil.CONN_LISTEN]


@pytest.mark.slow
def test_through_ssh_the_page_is_read_and_corrected_and_ends_with_ctrl_c(
    browser, tmp_path, ssh
) -> None:
    folder = written(tmp_path)
    # On one machine the two ends have different ports, as where 8765 is taken at the reader's.
    own, there = str(free_port()), str(free_port())
    words = documented("ssh")
    at = words.index("SERVER")
    assert words[at - 1] == f"{PORT}:127.0.0.1:{PORT}"
    assert words[at + 1 : at + 4] == ["bids_qsmthal", "view", "OUTPUT_DIR"]
    remote = [f"PYTHONPATH={ROOT}", sys.executable, "-m", "bids_qsmthal", "view", str(folder)]
    remote += [*words[at + 4 :], "--port", there]
    begin = [word.replace(f"{PORT}:127", f"{own}:127") for word in words[1:at]]
    begin = [word.replace(f":{PORT}", f":{there}") for word in begin]
    words = [*ssh, *begin, "127.0.0.1", "env", *map(shlex.quote, remote)]
    terminal = typed(words)
    try:
        reached = terminal.address.replace(f":{there}/", f":{own}/")
        check_reader_s_way(browser, reached, folder)
        (server,) = servers(folder)
        assert {one.laddr.ip for one in listening(server)} == {"127.0.0.1"}
        assert terminal.interrupt() == 130
        assert servers(folder) == []
    finally:
        ended(terminal)
        for one in servers(folder):
            one.terminate()
