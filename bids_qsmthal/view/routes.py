"""Addresses to functions: a table, and the search in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from bids_qsmthal.view.gate import Right
from bids_qsmthal.view.messages import RefusedError, Request, Response

if TYPE_CHECKING:
    from collections.abc import Sequence

Handler = Callable[[Request], Response]


@dataclass(frozen=True, slots=True)
class Route:
    """One kind of request.

    Attributes
    ----------
    pattern
        Of the whole path behind the token; its groups become the parts of the request.
    most_bytes
        Of the body; a longer one is not read.
    right
        The least that the address must allow.
    """

    method: str
    pattern: re.Pattern[str]
    handler: Handler
    most_bytes: int = 0
    right: Right = Right.READER


def find(
    routes: Sequence[Route], method: str, path: str, right: Right
) -> tuple[Route, dict[str, str]]:
    """Return the route of a request and the parts of its path.

    Raises
    ------
    RefusedError
        There is none, or none with this method.
    """
    allowed = [route for route in routes if right in (Right.READER, route.right)]
    hits = [(route, hit) for route in allowed if (hit := route.pattern.fullmatch(path))]
    for route, hit in hits:
        if route.method == ("GET" if method == "HEAD" else method):
            return route, hit.groupdict()
    if hits:
        raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, f"{method} is not possible here.")
    raise RefusedError(HTTPStatus.NOT_FOUND, "there is nothing at this address.")
