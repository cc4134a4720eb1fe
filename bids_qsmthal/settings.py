"""Every choice a user has: one frozen value, made once, whose parts go to the stages."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bids_qsmthal import anatomy, roi
from bids_qsmthal.anatomy.output_spaces import OutputSpace
from bids_qsmthal.lesions import FlairLesions
from bids_qsmthal.qsm import MaskChoice, Reconstruction
from bids_qsmthal.qsm.separation import R2StarSeparation

GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which part of the dataset is wanted; nothing named means everything.

    Attributes
    ----------
    t1w_session
        Whose T1w the sessions without one are given; empty for none.
    leaving_out
        Roles of scans that are not looked for, as filter files name them.
    """

    participants: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    filters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    t1w_session: str = ""
    leaving_out: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """The budget of a whole run.

    Attributes
    ----------
    cores
        Processor cores for all participants together.
    threads
        Threads of one participant; 0 shares the cores among those that run side by side.
    memory_bytes
        Memory for all participants together.
    """

    cores: int
    threads: int
    memory_bytes: int

    def side_by_side(self, participants: int) -> int:
        """Return how many participants run at once."""
        by_memory = max(1, self.memory_bytes // PARTICIPANT_BYTES)
        by_cores = max(1, self.cores // max(1, self.threads))
        return max(1, min(participants, by_memory, by_cores))

    def threads_each(self, participants: int) -> int:
        """Return how many threads each of them has."""
        return self.threads or max(1, self.cores // self.side_by_side(participants))


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where participants run.

    Attributes
    ----------
    executor
        Processes of this machine, workers of Dask, or jobs of Slurm.
    scheduler_address
        Of a Dask scheduler that runs already: an address, or the path of a scheduler file. Empty
        starts workers on this machine.
    slurm_options
        Long options of ``sbatch``, each with its value; empty for a flag.
    """

    executor: Literal["local", "dask", "slurm"] = "local"
    scheduler_address: str = ""
    slurm_options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AtlasFile:
    """An atlas of the user, and where it is.

    Attributes
    ----------
    path
        Of everybody's file; in the space of T1w with ``{subject}`` where a participant's label
        stands.
    space
        That of the packaged template, or of each participant's T1w.
    threshold
        Probability above which a voxel belongs to a region; ``None`` for one half.
    """

    name: str
    path: Path
    space: Literal["template", "T1w"]
    threshold: float | None = None


PAGES_ONLY = ("--reports-only", "--reports_only")
"""Words that make no result, and so are no part of how it was made."""

PARTICIPANT_BYTES = 4 * GIB
"""Upper bound on the memory of one participant at the study's matrix (measured: 3 GiB)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The choices of one run. A stage receives the part it needs, never the whole.

    Attributes
    ----------
    datasets
        Derivative datasets that replace stages, by name.
    atlases
        Whose regions are measured besides ours.
    mask
        In which voxels susceptibility is reconstructed.
    longitudinal
        Whether the visits of a participant are compared after they are finished.
    output_spaces
        Grids on which maps and masks are wanted besides their own.
    b0_direction
        The main field along the voxel axes of the gradient echo, where its header does not say.
    started
        When the run began, as it appears in the names of logs.
    command_line
        The words of the user, for provenance.
    """

    bids_dir: Path
    output_dir: Path
    work_dir: Path
    resources: Resources
    placement: Placement = field(default_factory=Placement)
    levels: tuple[str, ...] = ("participant",)
    selection: Selection = field(default_factory=Selection)
    datasets: Mapping[str, Path] = field(default_factory=dict)
    preparation: anatomy.Preparation = field(default_factory=anatomy.Preparation)
    segmentation: anatomy.SegmentationSettings = field(default_factory=anatomy.SegmentationSettings)
    lesions: FlairLesions = field(default_factory=FlairLesions)
    reconstruction: Reconstruction = field(default_factory=Reconstruction)
    mask: MaskChoice = field(default_factory=MaskChoice)
    regions: roi.RegionSettings = field(default_factory=roi.RegionSettings)
    rims: roi.RimRule = field(default_factory=roi.RimRule)
    separation: R2StarSeparation | None = None
    atlases: tuple[AtlasFile, ...] = ()
    output_spaces: tuple[OutputSpace, ...] = ()
    longitudinal: bool = False
    analysis: Path | None = None
    database: Path | None = None
    phase_sign: Literal["auto", "+1", "-1"] = "auto"
    phase_units: Literal["auto", "rad", "mrad", "deg", "siemens", "range"] = "auto"
    phase_filter: Literal["auto", "no"] = "auto"
    gre_chop: Literal["auto", "yes", "no"] = "auto"
    b0_direction: tuple[float, float, float] | None = None
    seed: int = 20180301
    check_names: bool = True
    clean_work: bool = False
    stop_on_first_crash: bool = False
    deface: bool = False
    dry_run: bool = False
    reports_only: bool = False
    log_level: int = logging.INFO
    started: str = ""
    command_line: tuple[str, ...] = ()

    @property
    def shown_command(self) -> str:
        """The command line for pages and provenance that may be shared.

        Folders of this machine have names of people and projects in them: the three folders of a
        run stand under the names they have in the help, other paths are cut to their last part.
        """
        words = (word for word in self.command_line if word not in PAGES_ONLY)
        return " ".join(self._shown(word) for word in words)

    def without_folders(self, text: str) -> str:
        """Return a text for pages that may be shared, folders of a run as the help names them."""
        others = {path: path.name for path in self.datasets.values()}
        named = {**others, **self._folders}
        for folder, name in sorted(named.items(), key=lambda one: -len(str(one[0]))):
            # The longest first: one of them may lie in another.
            text = text.replace(str(folder), name)
        return text

    @property
    def _folders(self) -> dict[Path, str]:
        return {
            self.bids_dir: "BIDS_DIR",
            self.output_dir: "OUTPUT_DIR",
            self.work_dir: "WORK_DIR",
        }

    def _shown(self, word: str) -> str:
        name, separator, value = word.rpartition("=")
        path = Path(value)
        short = self._folders.get(path.resolve(), path.name if "/" in value else value)
        return f"{name}{separator}{short}"
