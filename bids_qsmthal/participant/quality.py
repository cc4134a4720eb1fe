"""Is a participant to be trusted: the checks of the number, of every registration, of anatomy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from bids_qsmthal.anatomy import Normalisation, RigidRegistration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bids_qsmthal.anatomy import Rigid
    from bids_qsmthal.participant.structural import Structural
    from bids_qsmthal.participant.susceptibility import Susceptibility

INCLUDE, CHECK, EXCLUDE = "include", "check", "exclude"

COLUMNS = ("name", "value", "unit", "threshold", "verdict", "reason", "source")
"""As the checks of the number have them."""

RULE = "failure rule of the registration"


def checks(head: Structural, iron: Susceptibility | None) -> pd.DataFrame:
    """Return one row a check: those of the number first, then registrations and anatomy."""
    rows = pd.DataFrame([*_registrations(head, iron), *_anatomy(head)], columns=list(COLUMNS))
    if iron is None or iron.regions is None:
        return rows
    own = iron.regions.quality
    return own if rows.empty else pd.concat([own, rows], ignore_index=True)


def verdict(head: Structural, iron: Susceptibility | None) -> str:
    """Return the worst verdict of all checks; without a number at all, look first."""
    order = (INCLUDE, CHECK, EXCLUDE)
    found = [str(one) for one in checks(head, iron)["verdict"]]
    if iron is not None and iron.regions is None:
        found.append(CHECK)
    return max(found, key=order.index, default=INCLUDE)


def _registrations(head: Structural, iron: Susceptibility | None) -> Iterator[tuple[object, ...]]:
    if head.prepared is not None and "template_correlation" in head.prepared.quality:
        found = head.prepared.quality["template_correlation"]
        least = Normalisation().min_correlation
        failed = not found >= least
        reason = "the registration of T1w to the template failed" if failed else ""
        decision = CHECK if failed else INCLUDE
        limit = f"check < {least:g}"
        yield "registration_template", found, "correlation", limit, decision, reason, RULE
    moving = {
        "registration_FLAIR": head.flair_to_t1w,
        "registration_ceT1w": head.ce_to_t1w,
        "registration_MEGRE": iron.to_t1w if iron else None,
    }
    for name, rigid in moving.items():
        if rigid is not None:
            yield _rigid(name, rigid)


def _rigid(name: str, rigid: Rigid) -> tuple[object, ...]:
    limit = f"check < {RigidRegistration().min_overlap:g}, or no sharper than when shifted"
    decision, reason = (CHECK, "; ".join(rigid.warnings)) if rigid.failed else (INCLUDE, "")
    return name, rigid.quality["overlap"], "fraction", limit, decision, reason, RULE


def _anatomy(head: Structural) -> Iterator[tuple[object, ...]]:
    """Return what the brain, the tissues and brought labels are doubted for."""
    found = head.anatomy.warnings if head.anatomy is not None else ()
    for text in dict.fromkeys((*found, *head.doubts)):
        if "registration to the template failed" not in text:  # has a row of its own
            yield "anatomy", float("nan"), "", "", CHECK, text, "plausible range in its text"
