"""The methods a user can choose by name."""

from __future__ import annotations

import inspect
import textwrap
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bids_qsmthal.errors import UsageError
from bids_qsmthal.qsm import BACKGROUNDS, INVERSIONS, UNWRAPPINGS, Reconstruction

if TYPE_CHECKING:
    from collections.abc import Mapping

CHOICES: dict[str, Mapping[str, type[Any]]] = {
    "unwrapping": UNWRAPPINGS,
    "background": BACKGROUNDS,
    "inversion": INVERSIONS,
}
OPTIONS = {"unwrapping": "--unwrap", "background": "--background", "inversion": "--inversion"}


def reconstruction(
    unwrapping: str | None = None, background: str | None = None, inversion: str | None = None
) -> Reconstruction:
    """Return the default reconstruction with the named methods in their places.

    Raises
    ------
    UsageError
        A name is not known.
    """
    names = {"unwrapping": unwrapping, "background": background, "inversion": inversion}
    chosen = {step: _method(step, name) for step, name in names.items() if name is not None}
    return replace(Reconstruction(), **chosen)


def describe_all() -> str:
    """Return every method with its description and source, for ``--list-methods``."""
    default = Reconstruction()
    lines: list[str] = []
    for step, methods in CHOICES.items():
        lines.append(f"{OPTIONS[step]} NAME")
        for name, method in methods.items():
            mark = " (default)" if isinstance(getattr(default, step), method) else ""
            lines.append(f"  {name}{mark}")
            lines.append(textwrap.indent(inspect.getdoc(method) or "", "      "))
            lines.append("")
    return "\n".join(lines) + "\n"


def _method(step: str, name: str) -> Any:  # noqa: ANN401 - one of several dataclasses
    methods = CHOICES[step]
    if name not in methods:
        raise UsageError(
            f"{OPTIONS[step]} {name}: unknown; choose one of {', '.join(sorted(methods))}."
        )
    return methods[name]()
