"""Files of the output folder that a browser may have, and no others."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from bids_qsmthal.core.errors import MissingInputError
from bids_qsmthal.view.messages import RefusedError, Response

if TYPE_CHECKING:
    from pathlib import Path

MEDIA_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpeg": "image/jpeg",
    ".pdf": "application/pdf",
    ".tsv": "text/tab-separated-values; charset=utf-8",
    ".json": "application/json; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
    ".tex": "text/plain; charset=utf-8",
    ".bib": "text/plain; charset=utf-8",
    ".gz": "application/gzip",
}
"""What is served, by the last ending; logs and all else is not."""

REPORT_POLICY: Final = (
    # Sandboxed pages have an origin of their own, which can neither ask for nor change anything
    # here. The reports' own, stricter policy holds besides.
    "sandbox allow-scripts allow-downloads allow-forms allow-modals allow-popups; "
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src data: blob:; font-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


def inside(root: Path, words: str) -> Path:
    """Return a file below a folder, links resolved.

    Raises
    ------
    MissingInputError
        There is no such file.
    RefusedError
        It lies outside, or is of a kind that is not served.
    """
    real, place = root.resolve(), (root / words).resolve()
    # After the links: one that leads out of the folder may lead to any file of the machine.
    if not place.is_relative_to(real):
        raise RefusedError(HTTPStatus.FORBIDDEN, f"{words}: lies outside the output folder.")
    if not place.is_file():
        raise MissingInputError(f"{words}: no such file in the output folder.")
    if place.suffix not in MEDIA_TYPES:
        raise RefusedError(HTTPStatus.FORBIDDEN, f"{words}: this kind of file is not served.")
    return place


def served(root: Path, words: str) -> Response:
    """Return a file of the output folder.

    Raises
    ------
    MissingInputError, RefusedError
        As ``inside``.
    """
    place = inside(root, words)
    headers = {"Content-Security-Policy": REPORT_POLICY}
    return Response(place.read_bytes(), MEDIA_TYPES[place.suffix], headers=headers)
