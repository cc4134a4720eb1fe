"""The methods a user can choose by name."""

from __future__ import annotations

import inspect
import textwrap
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bids_qsmthal import roi
from bids_qsmthal.core.errors import UsageError
from bids_qsmthal.qsm import (
    BACKGROUNDS,
    INVERSIONS,
    RELAXATIONS,
    UNWRAPPINGS,
    Device,
    Reconstruction,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

CHOICES: dict[str, Mapping[str, type[Any]]] = {
    "--unwrap": UNWRAPPINGS,
    "--background": BACKGROUNDS,
    "--inversion": INVERSIONS,
}


def reconstruction(
    unwrapping: str | None = None,
    background: str | None = None,
    inversion: str | None = None,
    *,
    device: str = "cpu",
) -> Reconstruction:
    """Return the default reconstruction with the named methods in their places.

    Raises
    ------
    UsageError
        A name is not known.
    UnavailableError
        The device is not there.
    """
    place = Device(device)
    place.check()
    default = Reconstruction()
    fitting = default.fitting
    chosen = replace(
        default,
        fitting=replace(fitting, unwrapping=_method("--unwrap", unwrapping, fitting.unwrapping)),
        background=_method("--background", background, default.background),
        inversion=_method("--inversion", inversion, default.inversion),
    )
    return chosen.on(place)


REFERENCES = {
    "atria": roi.ReferenceRegion.ATRIA,
    "ventricles": roi.ReferenceRegion.VENTRICLES,
    "csf": roi.ReferenceRegion.GLOBAL_CSF,
    "brain": roi.ReferenceRegion.BRAIN,
}
"""What the susceptibility is relative to, by the user's word, as ``roi`` calls it."""


def regions(csf_reference: str = "atria") -> roi.RegionSettings:
    """Return how the regions are measured, with the reference of this name in the first place.

    Raises
    ------
    UsageError
        The name is not known.
    """
    if csf_reference not in REFERENCES:
        raise UsageError(
            f"--csf-reference {csf_reference}: unknown; choose one of {', '.join(REFERENCES)}."
        )
    default = roi.RegionSettings()
    return replace(default, reference=replace(default.reference, region=REFERENCES[csf_reference]))


def name_of(method: object) -> str:
    """Return the name by which a user chooses a method."""
    for methods in (*CHOICES.values(), RELAXATIONS):
        for name, kind in methods.items():
            if type(method) is kind:
                return name
    return type(method).__name__


def describe_all() -> str:
    """Return every method with its description and source, for ``--list-methods``."""
    default = Reconstruction()
    defaults = (default.fitting.unwrapping, default.background, default.inversion)
    lines: list[str] = []
    for (option, methods), usual in zip(CHOICES.items(), defaults, strict=True):
        lines.append(f"{option} NAME")
        for name, method in methods.items():
            lines.append(f"  {name}{' (default)' if type(usual) is method else ''}")
            lines.append(textwrap.indent(inspect.getdoc(method) or "", "      "))
            lines.append("")
    return "\n".join(lines) + "\n"


def _method(option: str, name: str | None, usual: Any) -> Any:  # noqa: ANN401 - any of the methods
    methods = CHOICES[option]
    if name is None:
        return usual
    if name not in methods:
        raise UsageError(f"{option} {name}: unknown; choose one of {', '.join(sorted(methods))}.")
    return methods[name]()
