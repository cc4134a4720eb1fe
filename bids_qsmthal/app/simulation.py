"""``bids_qsmthal simulate``: digital participants with known truth, as a dataset."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, TypeVar

from bids_qsmthal import simulate
from bids_qsmthal.core.errors import OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

log = logging.getLogger(__name__)

Value = TypeVar("Value")


def run(
    folder: Path,
    *,
    participants: int,
    seed: int,
    protocol: str,
    vendors: Sequence[str],
    scenario: str,
) -> int:
    """Write a simulated dataset and its truth, or print the scenarios.

    Parameters
    ----------
    folder
        Gets ``bids`` and ``truth``; neither may be there.
    participants, seed
        How many, and which.
    protocol, vendors, scenario
        Keys of ``simulate.PROTOCOLS``, ``VENDORS`` and ``SCENARIOS``; vendors take turns. The
        scenario ``list`` prints all of them.

    Returns
    -------
    int
        0; what is wrong is raised.
    """
    if scenario == "list":
        width = max(map(len, simulate.SCENARIOS)) + 2
        for name, known in simulate.SCENARIOS.items():
            sys.stdout.write(f"{name:{width}}{known.title}\n")
        return 0
    for name in ("bids", "truth"):
        if (folder / name).exists():
            raise OutputError(
                f"{folder / name} is there already; expected a folder without it. "
                "Choose another folder, or remove it."
            )
    cohort = simulate.draw_cohort(
        participants,
        seed,
        protocol=_known(simulate.PROTOCOLS, "--protocol", protocol),
        vendors=[_known(simulate.VENDORS, "--vendor", name).name for name in vendors],
    )
    chosen = _known(simulate.SCENARIOS, "--scenario", scenario)
    truth = simulate.write_dataset(folder / "bids", cohort, chosen)
    log.info("%d participants in %s, what is true of them in %s", len(cohort), folder, truth)
    return 0


def _known(values: Mapping[str, Value], option: str, name: str) -> Value:
    if name not in values:
        raise UsageError(f"{option} {name!r}: expected one of {', '.join(values)}.")
    return values[name]
