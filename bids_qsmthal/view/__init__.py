"""The reader's bench: a local web page to look at, correct and rate what a run made."""

from __future__ import annotations

import sys
import webbrowser
from typing import TYPE_CHECKING

from bids_qsmthal.core.errors import OutputError
from bids_qsmthal.view import application
from bids_qsmthal.view.gate import Gate
from bids_qsmthal.view.listening import address, is_cut_off
from bids_qsmthal.view.remaking import Command
from bids_qsmthal.view.server import Server

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Command", "address", "serve", "server_of"]


def server_of(
    output_dir: Path, place: tuple[str, int], remake: Command, bids_dir: Path | None = None
) -> Server:
    """Return a server of an output folder that has its port and waits to be run.

    Parameters
    ----------
    place
        Address and port to listen on; the port 0 takes a free one.
    remake
        What runs a participant again.
    bids_dir
        The BIDS folder of the run, to show FLAIR and magnitude; ``None``: they are not shown.

    Raises
    ------
    MissingInputError
        The folder holds no participant of ours, or there is no such BIDS folder.
    OutputError
        The port is taken.
    """
    gate = Gate()
    bench = application.bench(output_dir.resolve(), gate, remake, bids_dir)
    try:
        return Server(place, gate, application.routes(bench), bench.remaker.end)
    except (OSError, OverflowError) as error:
        raise OutputError(
            f"{place[0]}:{place[1]}: cannot be opened ({error}); choose another --port."
        ) from error


def serve(
    output_dir: Path,
    place: tuple[str, int],
    remake: Command,
    *,
    bids_dir: Path | None = None,
    browser: bool,
) -> None:
    """Serve until Ctrl-C; print the address and, where asked for, open it.

    Raises
    ------
    MissingInputError, OutputError
        As ``server_of``.
    """
    with server_of(output_dir, place, remake, bids_dir) as server:
        page = f"http://127.0.0.1:{server.server_address[1]}/{server.gate.token}/"
        sys.stdout.write(f"{page}\nCtrl-C stops it; the address works until then.\n")
        if is_cut_off():
            sys.stdout.write(
                "This container has no network, so its published ports cannot be reached: start "
                "it without --network none.\n"
            )
        sys.stdout.flush()
        if browser:
            webbrowser.open(page)
        server.serve_forever()
