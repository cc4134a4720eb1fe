"""The story of the group level: measures and covariates in, tables and one page out."""

from __future__ import annotations

import gc
import logging
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits

from bids_qsmthal.bids import manifest
from bids_qsmthal.core.files import check_inside, whole_folder
from bids_qsmthal.group import analysis_file, assembly, fitting, page, progress, table_writing
from bids_qsmthal.group.progress import GroupStage
from bids_qsmthal.report import citation
from bids_qsmthal.statistics.resampling import Resampling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bids_qsmthal.settings import Selection, Settings

log = logging.getLogger(__name__)

FOLDER = "group"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupResult:
    """What the group level did."""

    folder: Path
    page: Path
    n_participants: int
    """How many are in the analysis, after exclusions."""

    not_fitted: tuple[str, ...]
    """Models without a result; models.tsv says why."""


def run(settings: Settings) -> GroupResult:
    """Run the group level as the settings of a whole run ask."""
    return process(
        settings.bids_dir,
        settings.output_dir,
        analysis=settings.analysis,
        selection=settings.selection,
        seed=settings.seed,
    )


@contextmanager
def _libraries_set_aside() -> Iterator[None]:
    """Keep what is loaded out of garbage collection meanwhile.

    Models and figures make many short-lived objects; looking through all libraries for each batch
    of them took a tenth of the time of the group level.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@_libraries_set_aside()
def process(
    bids_dir: Path,
    output_dir: Path,
    *,
    analysis: Path | None = None,
    selection: Selection | None = None,
    seed: int = 20180301,
) -> GroupResult:
    """Collect the participants' measures, fit the models, and write tables and a page.

    Parameters
    ----------
    bids_dir
        The dataset, for participants.tsv, sessions.tsv and phenotype/.
    output_dir
        Where the participant level wrote; ``group/`` is made in it. What the user wrote into
        ``edits/`` wins over quality control.
    analysis
        The user's analysis file; the study's models where there is none. A column that no table
        has is an error in the user's file, and only leaves out models in the packaged one, or in
        a file that says the same.
    selection
        Participants, sessions and runs that are asked for; all of them where not given.
    seed
        Of permutations and bootstraps.

    Raises
    ------
    LevelUnavailableError
        No participant has results yet.
    DataError
        A table is malformed.
    MissingInputError
        A column, the analysis file or a participant that is asked for is missing.
    UsageError
        The analysis file is wrong.
    """
    folder = output_dir / FOLDER
    # First of all: group/ may be a link to elsewhere, and it will be replaced as a whole.
    check_inside(output_dir, folder / "figures")
    # Before any table is read, so that a wrong analysis file costs no time.
    wanted = analysis_file.read(analysis)
    progress.start()
    progress.begin(GroupStage.TABLES)
    cohort = assembly.assemble(
        bids_dir,
        output_dir,
        wanted,
        strict=not analysis_file.is_packaged(wanted),
        selection=selection,
    )
    log.info("In the analysis %s: %d participants.", wanted.name, len(cohort.frame))

    how = Resampling(seed=seed)
    progress.begin(GroupStage.MODELS)
    # Matrices of models are narrow: threads of linear algebra wait for each other (10,000
    # participants, 50 measures: 51 CPU-s, with one thread 42, in the same time).
    with threadpool_limits(limits=1, user_api="blas"):
        results = fitting.fit_all(wanted, cohort, how)

    progress.begin(GroupStage.PAGE)
    # A manifest that outlives what it lists would vouch for files that are gone.
    lock = output_dir / "logs" / f".{FOLDER}.lock"
    with whole_folder(folder, lock, lambda: manifest.remove_of(output_dir, FOLDER)) as made:
        table_writing.write(made, wanted, cohort, results)
        page.write(made, wanted, cohort, results, how)
    citation.write(output_dir / "logs", FOLDER, page.methods_that_ran(wanted, results, how))
    # After the swap: it vouches for what lies at its final place.
    manifest.write_of(output_dir, FOLDER, folder)
    progress.end()
    not_fitted = tuple(name for name, fit in results.fits.items() if not fit.fitted)
    if not_fitted:
        log.warning(
            "%d of %d models are not fitted; %s says why.",
            len(not_fitted), len(results.fits), folder / "models.tsv",
        )  # fmt: skip
    return GroupResult(
        folder=folder,
        page=folder / page.NAME,
        n_participants=len(cohort.frame),
        not_fitted=not_fitted,
    )
