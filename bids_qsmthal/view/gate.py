"""Who may ask for what: the token in the address, the host, the origin.

The token is a part of the path and no cookie: browsers send the cookies of 127.0.0.1 to every
server of that machine, whatever its port, and so to those of other users of it.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from bids_qsmthal.view.messages import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

LOCAL_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
"""What a browser calls this machine. Another name may be one that its owner points here to read
the answers (DNS rebinding, doi:10.1145/1315245.1315298)."""

READING = frozenset({"GET", "HEAD"})


class Right(Enum):
    """What an address allows."""

    READER = "everything the page can do"
    FILES = "files of the output folder, read"


@dataclass(frozen=True, slots=True)
class Gate:
    """The secrets of one server.

    Attributes
    ----------
    token
        In the address of the page.
    files_token
        In the addresses of reports, which are pages of their own: one that knows its own address
        cannot make those of edits from it.
    """

    # 256 bits, as Python's documentation of secrets advises for tokens.
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    files_token: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    def admit(self, method: str, target: str, headers: Mapping[str, str]) -> tuple[Right, str]:
        """Return what the request may do and its path behind the token.

        Raises
        ------
        RefusedError
            The token is wrong, the host is not this machine, or a change is asked for from
            another page.
        """
        _check_host(headers.get("host", ""))
        path = urlsplit(target).path
        given, _, rest = path.removeprefix("/").partition("/")
        right = self._right(given)
        if method not in READING:
            _check_origin(headers)
        return right, unquote(rest, errors="strict")

    def _right(self, given: str) -> Right:
        # In constant time: the time of an ordinary comparison tells how many letters are right.
        for token, right in ((self.token, Right.READER), (self.files_token, Right.FILES)):
            if hmac.compare_digest(given.encode(), token.encode()):
                return right
        raise RefusedError(
            HTTPStatus.FORBIDDEN,
            "this address lacks the token; open the one that bids_qsmthal view printed.",
        )


def _check_host(host: str) -> None:
    name = urlsplit(f"//{host}").hostname
    if name not in LOCAL_NAMES:
        raise RefusedError(
            HTTPStatus.FORBIDDEN,
            f"the address names {host or 'no host'}; expected 127.0.0.1 or localhost: reach "
            "another machine through an SSH tunnel (docs/view.md).",
        )


def _check_origin(headers: Mapping[str, str]) -> None:
    """Raise unless a change is asked for by our own page, which browsers say in headers.

    https://www.w3.org/TR/fetch-metadata/ and RFC 6454; no page can set them.
    """
    same = headers.get("origin", "") == f"http://{headers.get('host', '')}"
    if not same or headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise RefusedError(
            HTTPStatus.FORBIDDEN, "another page requested a change; use the page of the viewer."
        )
