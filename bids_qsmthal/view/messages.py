"""Requests, answers and refusals as values, without any server."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from bids_qsmthal.core.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


class RefusedError(UsageError):
    """A request that is not answered with what it asks for.

    Attributes
    ----------
    status
        Of HTTP, by what was wrong.
    """

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """What a browser asks for, once it may.

    Attributes
    ----------
    parts
        What the pattern of the route left open in the address, by name.
    headers
        By their names in small letters.
    """

    parts: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""

    def json(self) -> dict[str, Any]:
        """Return the body as a JSON object.

        Raises
        ------
        DataError
            It is none.
        """
        try:
            content = json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise DataError(f"the request is not JSON ({error}); load the page again.") from error
        if not isinstance(content, dict):
            raise DataError("the request is not a JSON object; load the page again.")
        return content


@dataclass(frozen=True, slots=True)
class Response:
    """What goes back."""

    content: bytes
    media_type: str
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)


def answer(content: object, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Return JSON; numbers that are none must have become ``None`` before."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False)
    return Response(text.encode(), "application/json; charset=utf-8", status)
