"""The story of one participant: read it like the methods section of a paper."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from bids_qsmthal import anatomy, report
from bids_qsmthal.bids import external, manifest, visits
from bids_qsmthal.bids.derivatives import Derivatives, raw_uri
from bids_qsmthal.core import nifti
from bids_qsmthal.core.errors import UnusableScanError
from bids_qsmthal.core.files import check_inside, sweep
from bids_qsmthal.participant import (
    atlas_regions,
    input_checks,
    measures,
    output_spaces,
    page,
    pipeline,
    quality,
    saving,
)
from bids_qsmthal.participant.earlier_outputs import earlier_outputs
from bids_qsmthal.participant.kept_results import shared_folders
from bids_qsmthal.participant.relaxation import relaxation_results
from bids_qsmthal.participant.runner import Runner
from bids_qsmthal.participant.structural import structural_results
from bids_qsmthal.participant.susceptibility import susceptibility_results
from bids_qsmthal.report import citation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bids_qsmthal.bids.dataset import Session
    from bids_qsmthal.bids.external import ExternalFile
    from bids_qsmthal.bids.manifest import ManifestEntry
    from bids_qsmthal.core.errors import ExitCode
    from bids_qsmthal.settings import Settings

log = logging.getLogger(__name__)


def process(session: Session, settings: Settings) -> None:
    """Take one participant, session and scan from raw images to measures and a report.

    With ``reports_only`` the stages come from the work folder, and only pages, figures and the
    methods text are written.

    Raises
    ------
    UnusableScanError
        A scan could not be used; what the others give is made and finished.
    QsmthalError
        Something is wrong with the input, in words for the user; nothing is changed.
    """
    out = _places(session, settings)
    work_dir = settings.work_dir / session.name
    _make_ready(out, settings.work_dir, work_dir)
    # Before anything is overwritten: until it finishes, nobody takes its outputs for whole.
    before = _begin(out, session, settings)
    # External files are looked up before the plan, because they decide which stages run.
    external_files = _external_files(session, settings)
    inputs = input_checks.read(session, settings, external_files)
    # From here on without the scans that cannot be used.
    session = inputs.session
    out = outputs(session, settings)
    plan = pipeline.plan(session, external_files, pipeline.requested(settings))
    runner = Runner(work_dir, plan, only_known=settings.reports_only)
    runner.announce()

    # T1w first: its brain, fluid and thalami are carried to the gradient echo.
    structural = structural_results(inputs, settings, runner)
    susceptibility = susceptibility_results(inputs, settings, runner, structural)
    relaxation = relaxation_results(inputs, settings, runner, structural)
    measured = atlas_regions.measured(inputs.atlases, structural, susceptibility, runner)
    judged = (structural, susceptibility, session.unusable, relaxation)
    table = measures.collect(
        *(session, structural, susceptibility, quality.decision(*judged), measured),
        relaxation=relaxation,
    )

    shown = page.with_atlases(
        page.contents(
            *(session, settings, structural, susceptibility, table, plan), relaxation=relaxation
        ),
        measured,
    )
    if not settings.reports_only:
        saving.save_structural(session, structural, settings, out)
        saving.save_gradient_echo(session, susceptibility or relaxation, structural, settings, out)
        saving.save_atlases(session, measured, susceptibility, out)
        output_spaces.save(
            session, settings.output_spaces, structural, susceptibility or relaxation, out
        )
        saving.save_tables(table, quality.checks(*judged), shown.methods_run, out)
    _write_page(shown, settings, out)
    # With --reports-only the images of the run before are still the valid ones.
    _finish(session, out, before if settings.reports_only else [])
    if settings.clean_work:
        # At the very end: a participant that failed goes on from what is kept there.
        shutil.rmtree(work_dir)
    _raise_if_unusable(session, inputs.exit_code)


def _begin(out: Derivatives, session: Session, settings: Settings) -> list[ManifestEntry]:
    """Say that a scan is processed again; return what its last run made, if that finished."""
    if session.session and not settings.reports_only:
        visits.outdate_comparison(out.output_dir, session.subject)
    return manifest.begin(out.output_dir, out.session_name, session.name)


def _write_page(shown: report.ParticipantReport, settings: Settings, out: Derivatives) -> None:
    # Before any picture is drawn, so that no figure can forget it. Images keep their faces.
    shown = report.defaced(shown) if settings.deface else shown
    written = report.write_participant(shown, out.page, out.session_folder / "figures")
    citation.write(settings.output_dir / "logs", shown.stem, shown.methods_run)
    out.made.update(written)


def _external_files(session: Session, settings: Settings) -> Mapping[str, ExternalFile]:
    found = external.files(session, settings.datasets, settings.output_dir)
    for key, item in found.items():
        log.info("%s is taken from %s (%s)", key, item.path, item.source)
    return found


def _raise_if_unusable(session: Session, code: ExitCode) -> None:
    """Raise at the end of a participant that lacks scans which are there."""
    if session.unusable:
        names = " and ".join(scan.name for scan in session.unusable)
        reasons = " ".join(scan.reason for scan in session.unusable)
        raise UnusableScanError(f"finished without {names}: {reasons}", code)


def _make_ready(out: Derivatives, *work_dirs: Path) -> None:
    """Raise where a link leads out of the output folder; remove what a killed run was writing."""
    _report_shared(*work_dirs)
    folders = (out.output_dir / "logs", out.folder, out.session_folder / "figures")
    check_inside(out.output_dir, *folders)
    sweep(out.name, out.output_dir, *folders)


def _report_shared(*folders: Path) -> None:
    for folder in shared_folders(*folders):
        log.warning(
            "%s: other users may write to this work folder and could put false results into it; "
            "run chmod go-w on it, or choose one of your own with -w.",
            folder,
        )


def outputs(session: Session, settings: Settings) -> Derivatives:
    """Return where the outputs of a session go, and the grids that they have."""
    scans = {
        "MEGRE": session.gre.paths[0] if session.gre else None,
        "T1w": session.t1w,
        "FLAIR": session.flair,
    }
    return replace(
        _places(session, settings),
        references={
            space: raw_uri(path, session.root) if path else "n/a" for space, path in scans.items()
        }
        | {anatomy.atlas.SPACE: anatomy.atlas.SPACE},
        codes={space: nifti.world_code(path) for space, path in scans.items() if path}
        | {anatomy.atlas.SPACE: nifti.MNI_CODE},
    )


def _places(session: Session, settings: Settings) -> Derivatives:
    """Return where the outputs of a session go; no scan is opened."""
    return Derivatives(
        output_dir=settings.output_dir,
        entities=session.entities,
        gre_entities=session.run_entities,
        references={},
    )


def _finish(session: Session, out: Derivatives, before: Sequence[manifest.ManifestEntry]) -> None:
    """Remove what earlier runs left and this one did not make; then say that it finished.

    Parameters
    ----------
    session, out
        The scans, and where their outputs went.
    before
        What an earlier run made and this one was not asked to make; pages are made anew.
    """
    images = [entry for entry in before if (out.output_dir / entry.path).parent == out.folder]
    there = {out.output_dir / entry.path for entry in images}
    # The methods texts lie in logs/, which manifests do not list: they would look left over.
    texts = {out.output_dir / "logs" / f"{out.name}_CITATION.{ending}" for ending in ("md", "bib")}
    stale = earlier_outputs(session, out, {*out.made, *there, *texts})
    for path in stale:
        path.unlink(missing_ok=True)
    if stale:
        log.info(
            "removed %d files of an earlier run that this run does not make: %s",
            *(len(stale), ", ".join(path.name for path in stale)),
        )
    manifest.finish(out.output_dir, out.session_name, session.name, out.made, images)
