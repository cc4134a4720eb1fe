"""The server: sockets and HTTP of the standard library around the routes.

It is Python's own, since the page has one reader, or a few, on one machine: a framework would be
a dependency more, with an event loop for work that is files and arrays. All that knows
``http.server`` is in this file; routes and handlers are values and functions.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from bids_qsmthal.core.errors import (
    BusyError,
    DataError,
    MissingInputError,
    OutputError,
    QsmthalError,
)
from bids_qsmthal.view import routes
from bids_qsmthal.view.messages import RefusedError, Request, Response, answer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bids_qsmthal.view.gate import Gate

log = logging.getLogger(__name__)

SLOW_S = 60.0
"""A connection on which nothing came for so long is closed."""

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    # NiiVue fetches its font and its images from where they are in the script.
    "connect-src 'self' data: blob:; font-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing from outside, no script but our files (https://www.w3.org/TR/CSP3/)."""

ALWAYS = {
    # The address holds the token: it must not reach a page that a report links to.
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Images of people stay out of the cache on the disk.
    "Cache-Control": "no-store",
    "Content-Security-Policy": PAGE_POLICY,
}

STATUSES: dict[type[QsmthalError], HTTPStatus] = {
    DataError: HTTPStatus.UNPROCESSABLE_ENTITY,
    MissingInputError: HTTPStatus.NOT_FOUND,
    BusyError: HTTPStatus.SERVICE_UNAVAILABLE,
    OutputError: HTTPStatus.CONFLICT,
}
"""How errors for people are answered; others with 500."""


class Server(ThreadingHTTPServer):
    """A server of some routes behind a gate; a thread for every connection."""

    daemon_threads = True

    def __init__(
        self,
        place: tuple[str, int],
        gate: Gate,
        table: Sequence[routes.Route],
        ending: Callable[[], None],
    ) -> None:
        self.gate, self.table, self._ending = gate, table, ending
        super().__init__(place, _Handler)

    def server_close(self) -> None:
        """Close the port, then end what was started for a request."""
        super().server_close()
        self._ending()


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = SLOW_S
    server_version, sys_version = "bids_qsmthal", ""

    def do_GET(self) -> None:
        self._send(self._answered())

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - as above

    def _answered(self) -> Response:
        try:
            return self._routed()
        except QsmthalError as error:
            # What was not read of this request would be taken for the next one.
            self.close_connection = True
            return answer({"error": str(error)}, _status(error))
        except (UnicodeDecodeError, ValueError) as error:
            self.close_connection = True
            log.debug("a request that cannot be read", exc_info=error)
            return answer({"error": "the request cannot be read."}, HTTPStatus.BAD_REQUEST)

    def _routed(self) -> Response:
        headers = {name.lower(): value for name, value in self.headers.items()}
        right, path = self.server.gate.admit(self.command, self.path, headers)
        route, parts = routes.find(self.server.table, self.command, path, right)
        body = self._body(route.most_bytes)
        return route.handler(Request(parts, headers, body))

    def _body(self, most_bytes: int) -> bytes:
        if "Transfer-Encoding" in self.headers:
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "the request has no length.")
        length = int(self.headers.get("Content-Length", "0"))
        if not 0 <= length <= most_bytes:
            raise RefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the request has {length} bytes; expected at most {most_bytes}.",
            )
        return self.rfile.read(length)

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        headers = {
            **ALWAYS,
            "Content-Type": response.media_type,
            "Content-Length": str(len(response.content)),
            **response.headers,
        }
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        try:
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(response.content)
        except ConnectionError as error:
            # The browser went on to another scan, or was closed.
            self.close_connection = True
            log.debug("nobody waits for the answer any more", exc_info=error)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        # Addresses hold the token: what is asked for goes to no log.
        del format, args


def _status(error: QsmthalError) -> HTTPStatus:
    if isinstance(error, RefusedError):
        return error.status
    return STATUSES.get(type(error), HTTPStatus.INTERNAL_SERVER_ERROR)
