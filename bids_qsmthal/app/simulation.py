"""``bids_qsmthal simulate``: digital participants with known truth, as a dataset."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

from bids_qsmthal import simulate
from bids_qsmthal.core.errors import OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

log = logging.getLogger(__name__)

Value = TypeVar("Value")

VOXELS_MM: Final = (0.3, 5.0)
"""Smaller ones take more memory than computers have, larger ones hold no thalamus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """How a gradient echo is asked for; ``None`` where the protocol's own counts.

    Attributes
    ----------
    protocol, vendors, scenario
        Keys of ``simulate.PROTOCOLS``, ``VENDORS`` and ``SCENARIOS``; vendors take turns. The
        scenario ``list`` asks for all of them.
    voxel_size_mm, echo_times_s, field_strength_t, snr
        In place of the protocol's.
    visits
        How often each participant is scanned.
    """

    protocol: str = "coarse"
    voxel_size_mm: Sequence[float] | None = None
    echo_times_s: Sequence[float] | None = None
    field_strength_t: float | None = None
    snr: float | None = None
    visits: int = 1
    vendors: Sequence[str] = ("siemens",)
    scenario: str = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """What of the participants is read: label maps of their heads, masks with shapes of lesions."""

    labels: tuple[Path, ...] = ()
    lesion_masks: tuple[Path, ...] = ()

    @classmethod
    def of(cls, labels: Sequence[Path], lesion_masks: Sequence[Path]) -> Files:
        """Return the files that a command line names."""
        # Tuples: what names none must equal ``NO_FILES``.
        return cls(labels=tuple(labels), lesion_masks=tuple(lesion_masks))


NO_FILES: Final = Files()


def run(folder: Path, *, participants: int, seed: int, scan: Scan, files: Files = NO_FILES) -> int:
    """Write a simulated dataset and its truth, or print the scenarios.

    Parameters
    ----------
    folder
        Gets ``bids`` and ``truth``; neither may be there.
    participants, seed
        How many, and which.
    scan
        How they are scanned.
    files
        What of them is read and not drawn.

    Returns
    -------
    int
        0; what is wrong is raised.
    """
    if scan.scenario == "list":
        width = max(map(len, simulate.SCENARIOS)) + 2
        for name, known in simulate.SCENARIOS.items():
            sys.stdout.write(f"{name:{width}}{known.title}\n")
        return 0
    _check_free(folder)
    given = simulate.read_given(files.labels, files.lesion_masks)
    cohort = simulate.draw_cohort(
        participants,
        seed,
        protocol=protocol_of(scan),
        vendors=[_known(simulate.VENDORS, "--vendor", name).name for name in scan.vendors],
    )
    if scan.snr is not None:
        snr = _within("--snr", scan.snr, (1.0, 1000.0))
        cohort = tuple(
            replace(person, parameters=replace(person.parameters, snr=snr)) for person in cohort
        )
    chosen = _known(simulate.SCENARIOS, "--scenario", scan.scenario)
    truth = simulate.write_dataset(folder / "bids", cohort, chosen, given, scan.visits)
    log.info("%d participants in %s, their truth in %s", len(cohort), folder, truth)
    return 0


def protocol_of(scan: Scan) -> simulate.Protocol:
    """Return the named protocol with what was asked for in place of its own."""
    protocol = _known(simulate.PROTOCOLS, "--protocol", scan.protocol)
    acquisition = protocol.acquisition
    if scan.echo_times_s is not None:
        acquisition = replace(acquisition, echo_times_s=tuple(scan.echo_times_s))
    if scan.field_strength_t is not None:
        acquisition = replace(acquisition, field_strength_t=scan.field_strength_t)
    protocol = replace(protocol, acquisition=acquisition)
    if scan.voxel_size_mm is None:
        return protocol
    x, y, z = (_within("--voxel-size", size, VOXELS_MM) for size in scan.voxel_size_mm)
    return simulate.with_voxels(protocol, (x, y, z))


def _check_free(folder: Path) -> None:
    for name in ("bids", "truth"):
        if (folder / name).exists():
            raise OutputError(
                f"{folder / name} exists already; expected a folder without it. Choose another "
                "folder, or remove it."
            )


def _known(values: Mapping[str, Value], option: str, name: str) -> Value:
    if name not in values:
        raise UsageError(f"{option} {name!r}: expected one of {', '.join(values)}.")
    return values[name]


def _within(option: str, value: float, limits: tuple[float, float]) -> float:
    low, high = limits
    # NaN fails the comparison, too.
    if not low <= value <= high:
        raise UsageError(f"{option} {value:g}: expected {low:g} to {high:g}.")
    return value
