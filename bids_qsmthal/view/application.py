"""What the page can ask for: the table of routes, and a function for each."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from importlib import resources
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from bids_qsmthal.bids.external import EDITS
from bids_qsmthal.bids.products import PRODUCTS
from bids_qsmthal.core.errors import MissingInputError
from bids_qsmthal.group import reader_agreement
from bids_qsmthal.report import page
from bids_qsmthal.view import (
    drawn,
    edits,
    head,
    images,
    live,
    operations,
    participants,
    places,
    rating,
)
from bids_qsmthal.view.gate import Gate, Right
from bids_qsmthal.view.messages import RefusedError, Request, Response, answer
from bids_qsmthal.view.remaking import Command, Remaker
from bids_qsmthal.view.routes import Handler, Route

if TYPE_CHECKING:
    from collections.abc import Hashable
    from pathlib import Path

STATIC: Final = {
    "index.html": "text/html; charset=utf-8",
    "bench.css": "text/css; charset=utf-8",
    "bench.js": "text/javascript; charset=utf-8",
    "table.js": "text/javascript; charset=utf-8",
    "maps.js": "text/javascript; charset=utf-8",
    "planes.js": "text/javascript; charset=utf-8",
    "viewer.js": "text/javascript; charset=utf-8",
    "remake.js": "text/javascript; charset=utf-8",
    "drawing.js": "text/javascript; charset=utf-8",
    "speed.js": "text/javascript; charset=utf-8",
    "requests.js": "text/javascript; charset=utf-8",
}
"""The files of the page. What is not listed is not served."""

LIBRARY: Final = "niivue.min.js"

NIFTI: Final = "application/octet-stream"
GZIPPED: Final = {"Content-Encoding": "gzip"}
"""A browser unpacks this itself, several times faster than a script."""

FORM_BYTES: Final = 2**13
"""Of a form: a reason of 500 letters and a name."""


@dataclass(frozen=True, slots=True)
class Bench:
    """One output folder.

    Attributes
    ----------
    writable
        Whether corrections and ratings can be saved.
    bids_dir
        Where FLAIR and magnitude are; ``None``: they are not shown.
    """

    output_dir: Path
    gate: Gate
    remaker: Remaker
    writable: bool
    bids_dir: Path | None = None


def bench(output_dir: Path, gate: Gate, remake: Command, bids_dir: Path | None = None) -> Bench:
    """Return the bench of an output folder.

    Raises
    ------
    MissingInputError
        It holds no participant of ours, or there is no such BIDS folder.
    """
    if bids_dir is not None and not bids_dir.is_dir():
        raise MissingInputError(f"{bids_dir}: no such folder; expected the BIDS folder of the run.")
    if not participants.rows(output_dir):
        raise MissingInputError(
            f"{output_dir}: no results of bids_qsmthal; expected the output folder of a run."
        )
    edited = output_dir / EDITS
    writable = os.access(edited if edited.is_dir() else output_dir, os.W_OK)
    return Bench(output_dir, gate, Remaker(output_dir, remake), writable, bids_dir)


def routes(of: Bench) -> tuple[Route, ...]:
    """Return every kind of request that is answered."""
    name, key = r"(?P<name>[\w.+-]+)", r"(?P<key>\w+)"
    # Which version of a label; without one that which counts.
    which = r"(?P<of>(?:/(?:run|\d{4}_[A-Za-z0-9-]+))?)\.nii\.gz"
    return (
        _route("GET", "", partial(_static, name="index.html")),
        _route("GET", r"static/(?P<name>[\w.]+)", _static),
        _route("GET", "api/participants", partial(_participants, of)),
        _route("GET", f"api/scan/{name}", partial(_scan, of)),
        _route("GET", f"api/head/{name}/{key}", partial(_head, of)),
        _route("GET", rf"api/map/{name}/{key}/(?P<below>\w+){which}", partial(_map, of)),
        _route("GET", rf"api/label/{name}/{key}{which}", partial(_label, of)),
        _route("GET", f"api/versions/{name}/{key}", partial(_versions, of)),
        _route("GET", "api/agreement", partial(_agreement, of)),
        _route("POST", f"api/numbers/{name}/{key}", partial(_numbers, of), drawn.MOST_BYTES),
        _route(
            *("POST", rf"api/tool/{name}/{key}/(?P<tool>[a-z]+)(?P<more>(?:/[\w.+-]+)*)"),
            *(partial(_tool, of), drawn.MOST_BYTES),
        ),
        _route("GET", rf"api/outlines/{name}/{key}\.nii\.gz", partial(_outlines, of)),
        _route("PUT", f"api/label/{name}/{key}", partial(_save, of), drawn.MOST_BYTES),
        _route("POST", f"api/rating/{name}", partial(_rate, of), FORM_BYTES),
        _route("GET", "api/remake", partial(_progress, of)),
        _route("POST", f"api/remake/{name}", partial(_remake, of), FORM_BYTES),
        _route("DELETE", "api/remake", partial(_interrupt, of)),
        Route(*("GET", re.compile(r"files/(?P<path>.+)"), partial(_file, of)), right=Right.FILES),
    )


def _route(method: str, pattern: str, handler: Handler, most_bytes: int = 0) -> Route:
    return Route(method, re.compile(pattern), handler, most_bytes)


def _static(request: Request, name: str = "") -> Response:
    asked = name or request.parts["name"]
    if asked == LIBRARY:
        return Response(page.source(LIBRARY).encode(), STATIC["bench.js"])
    if asked not in STATIC:
        raise MissingInputError(f"{asked}: not a file of the page.")
    folder = resources.files("bids_qsmthal.view") / "static"
    return Response((folder / asked).read_bytes(), STATIC[asked])


def _participants(of: Bench, _request: Request) -> Response:
    rated = rating.latest(of.output_dir)
    rows = [
        row.described() | {"rating": rated.get((row.participant_id, row.session_id, row.run_id))}
        for row in participants.rows(of.output_dir)
    ]
    # Reports are opened with the lesser token: they are pages of their own.
    return answer(
        {"rows": rows, "writable": of.writable, "raw": of.bids_dir is not None}
        | {"files": f"/{of.gate.files_token}/files/"}
    )


def _scan(of: Bench, request: Request) -> Response:
    scan = _of(of, request)
    return answer(images.overview(scan) | {"head": head.is_known(scan)})


def _head(of: Bench, request: Request) -> Response:
    label = images.label(request.parts["key"])
    matrix = head.to_head(_of(of, request), PRODUCTS[label.key].space)
    return answer({"matrix": matrix.tolist()})


def _map(of: Bench, request: Request) -> Response:
    parts = request.parts
    asked = (_of(of, request), parts["key"], parts["below"], parts["of"].removeprefix("/"))
    tag = {"ETag": f'"{images.map_version(*asked)}"'}
    if request.headers.get("if-none-match") == tag["ETag"]:
        return Response(b"", NIFTI, HTTPStatus.NOT_MODIFIED, tag)
    return Response(images.map_on(*asked), NIFTI, headers=tag | GZIPPED)


def _label(of: Bench, request: Request) -> Response:
    which = request.parts["of"].removeprefix("/")
    content, version = images.label_of(_of(of, request), request.parts["key"], which)
    return Response(content, NIFTI, headers={"ETag": f'"{version}"', **GZIPPED})


def _versions(of: Bench, request: Request) -> Response:
    return answer(images.versions_of(_of(of, request), request.parts["key"]))


def _agreement(of: Bench, _request: Request) -> Response:
    rows = reader_agreement.table(of.output_dir)
    return answer({"rows": [_finite(row) for row in rows.to_dict("records")]})


def _finite(row: dict[Hashable, object]) -> dict[str, object]:
    """Return a row of a table in which numbers that are none are ``None``, as JSON needs."""
    return {
        str(name): None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }


def _numbers(of: Bench, request: Request) -> Response:
    scan, label = _of(of, request), images.label(request.parts["key"])
    drawing = drawn.read(request.body, scan.current(label.key), label)
    return answer(live.numbers(scan, label, drawing.voxels))


def _tool(of: Bench, request: Request) -> Response:
    scan, label = _of(of, request), images.label(request.parts["key"])
    drawing = drawn.read(request.body, scan.current(label.key), label)
    more = request.parts["more"].split("/")[1:]
    content = operations.applied(scan, label, drawing, request.parts["tool"], more)
    return Response(content, NIFTI, headers=GZIPPED)


def _outlines(of: Bench, request: Request) -> Response:
    content = operations.outlines(_of(of, request), request.parts["key"])
    return Response(content, NIFTI, headers=GZIPPED)


def _save(of: Bench, request: Request) -> Response:
    _check_writable(of)
    scan, label = _of(of, request), images.label(request.parts["key"])
    given = request.headers
    # Percent-encoded, since headers hold no letter outside of Latin-1.
    signed = edits.signature(given.get("x-reader", ""), unquote(given.get("x-reason", "")))
    version = given.get("if-match", "").strip('"')
    if not version:
        raise RefusedError(
            HTTPStatus.PRECONDITION_REQUIRED,
            "the request does not say which version was changed; load the page again.",
        )
    drawing = drawn.read(request.body, scan.current(label.key), label)
    saved = edits.save(scan, label, drawing.voxels, version, signed)
    where = scan.edit(label.key).relative_to(of.output_dir).as_posix()
    return answer({"version": saved, "path": where})


def _rate(of: Bench, request: Request) -> Response:
    _check_writable(of)
    row = participants.row(of.output_dir, request.parts["name"])
    form = {name: str(value) for name, value in request.json().items()}
    signed = edits.signature(form.get("reader", ""), form.get("reason", ""))
    rating.save(of.output_dir, row, form.get("decision", ""), signed)
    return answer({"saved": True})


def _progress(of: Bench, _request: Request) -> Response:
    progress = of.remaker.progress()
    return answer(None if progress is None else progress.described())


def _remake(of: Bench, request: Request) -> Response:
    _check_writable(of)
    row = participants.row(of.output_dir, request.parts["name"])
    of.remaker.start(row, group=request.json().get("group") is True)
    return _progress(of, request)


def _interrupt(of: Bench, request: Request) -> Response:
    of.remaker.interrupt()
    return _progress(of, request)


def _file(of: Bench, request: Request) -> Response:
    return places.served(of.output_dir, request.parts["path"])


def _of(of: Bench, request: Request) -> images.ScanMaps:
    row = participants.row(of.output_dir, request.parts["name"])
    return images.ScanMaps(of.output_dir, row, of.bids_dir)


def _check_writable(of: Bench) -> None:
    if not of.writable:
        raise RefusedError(HTTPStatus.FORBIDDEN, "the output folder cannot be written: view only.")
