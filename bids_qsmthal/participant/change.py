"""The change of one person over several visits, from what their finished sessions left.

A step over the participant, after its sessions: nothing of a session is made anew or overwritten.
All pairs of neighbours in time are compared, and the last visit with the first.
"""

from __future__ import annotations

import logging
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bids_qsmthal import report
from bids_qsmthal.anatomy.visits import VisitFrame, VisitScan, visit_frame
from bids_qsmthal.anatomy.volume_change import SharedBorders, volume_changes
from bids_qsmthal.bids import manifest, visits
from bids_qsmthal.bids.dataset import Session
from bids_qsmthal.bids.derivatives import Derivatives
from bids_qsmthal.bids.products import OF_VISITS, PRODUCTS
from bids_qsmthal.core import nifti
from bids_qsmthal.core.affine import voxel_sizes_mm
from bids_qsmthal.core.errors import DataError, ExitCode, UnusableScanError
from bids_qsmthal.core.files import check_inside, sweep, write_json, write_tsv
from bids_qsmthal.core.labels import LATERAL_VENTRICLE, THALAMUS
from bids_qsmthal.core.sources import OURS
from bids_qsmthal.lesions import LesionChange
from bids_qsmthal.participant import change_measures, change_page, lesion_changes
from bids_qsmthal.participant.change_measures import image
from bids_qsmthal.participant.change_rows import DICTIONARY, VisitPair, lesion_rows, volume_rows
from bids_qsmthal.participant.pipeline import VISIT_FRAME, VISIT_STAGES, VOLUME_CHANGE, Plan
from bids_qsmthal.participant.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bids_qsmthal.bids.manifest import ManifestEntry
    from bids_qsmthal.bids.visits import FinishedVisit
    from bids_qsmthal.core.image import Image
    from bids_qsmthal.participant.lesion_changes import LesionChanges
    from bids_qsmthal.settings import Settings

log = logging.getLogger(__name__)

FEWEST_VISITS = 2

SAME_VOXELS = 0.01
"""Edges of voxels that differ by less are equal but for the rounding of headers."""


def people(sessions: Iterable[Session], settings: Settings) -> list[Session]:
    """Return those with several finished visits, each as a session without a label."""
    named = {one.subject: one.root for one in sessions if one.session}
    return [
        Session(root=root, subject=subject)
        for subject, root in named.items()
        if len(_wanted(visits.session_labels(root, settings.output_dir, subject), settings))
        >= FEWEST_VISITS
    ]


def process(person: Session, settings: Settings) -> None:
    """Compare the finished visits of a person and write the table of change.

    Raises
    ------
    UnusableScanError
        A visit shows another head than the others, which are compared and finished.
    DataError
        Two visits show two heads, or fewer than two have a T1w of their own.
    """
    out = Derivatives(
        output_dir=settings.output_dir,
        entities=person.entities,
        gre_entities=(),
        references={},
    )
    folders = (out.output_dir / "logs", out.folder, out.session_folder / "figures")
    check_inside(out.output_dir, *folders)
    sweep(out.name, *folders)
    # Pages of its sessions lie there, too, and another run may be writing one.
    sweep(out.page.name, out.output_dir)
    # Until it finishes, nobody takes an earlier table for that of these visits.
    before = manifest.entries_of(out.output_dir, out.session_name)
    manifest.begin(out.output_dir, out.session_name, person.name)
    finished = visits.finished_visits(out.output_dir, person.root, person.subject)
    wanted = _wanted([one.session for one in finished], settings)
    found = _own_t1w([one for one in finished if one.session in wanted])
    _check_number(person, found)
    plan = Plan(available=frozenset(), stages=VISIT_STAGES, considered=VISIT_STAGES, left_out=())
    runner = Runner(settings.work_dir / person.name, plan)
    found, frame, strangers = _of_one_head(person, found, runner)
    changed = lesion_changes.save(person, found, frame, runner, out)
    even = [frame.even(image(one, "desc-preproc_T1w"), n) for n, one in enumerate(found)]
    # One set of borders for all pairs: the steps from visit to visit add up.
    shared = _shared(found, frame)
    table = _table(person, found, frame, runner, changed, even=even, shared=shared)
    write_tsv(out.path(visits.CHANGE, ".tsv"), table)
    write_json(out.path(visits.CHANGE, ".json"), dict(DICTIONARY))
    shown = change_page.contents(
        *(person, settings, found, frame, even, shared), table=table, changed=changed, out=out
    )
    page = report.change_page(shown)
    out.made.update(report.write_page(page, out.page, out.session_folder / "figures", out.name))
    # Of visits that are compared no more.
    for path in _of_comparison(out, before) - out.made:
        path.unlink(missing_ok=True)
    manifest.finish(out.output_dir, out.session_name, person.name, out.made)
    if strangers:
        raise UnusableScanError(f"finished without {' and '.join(strangers)}.", ExitCode.DATA)


def _of_comparison(out: Derivatives, before: Iterable[ManifestEntry]) -> set[Path]:
    """Return the files of an earlier comparison: the table, and the changes beside each visit."""
    # Whether its visits were processed again since or not.
    entries = [one for one in before if out.session_name in (*one.scans, *one.outdated)]
    made = manifest.own_places(out.output_dir, out.session_name, entries)
    endings = tuple(PRODUCTS[key].ending for key in OF_VISITS)
    for session in sorted({PurePosixPath(entry.path).parent.parent.name for entry in entries}):
        of_visit = manifest.own_places(out.output_dir, f"{out.session_name}_{session}", entries)
        # A visit's own results are those of its own run.
        made |= {path for path in of_visit if path.name.split(".")[0].endswith(endings)}
    return made


def _wanted(labels: Iterable[str], settings: Settings) -> list[str]:
    """Return those of some sessions that the command line asks for; all where it names none."""
    asked = settings.selection.sessions
    return [label for label in labels if not asked or label in asked]


def _own_t1w(found: Sequence[FinishedVisit]) -> list[FinishedVisit]:
    """Return visits with a T1w of their own: one that was borrowed shows no change."""
    kept: dict[str, FinishedVisit] = {}
    for one in found:
        digest = manifest.digest(one.files[visits.T1W])
        if digest in kept:
            log.warning(
                "ses-%s is left out: its T1w is that of ses-%s.", one.session, kept[digest].session
            )
        kept.setdefault(digest, one)
    return list(kept.values())


def _check_number(person: Session, found: Sequence[FinishedVisit]) -> None:
    if len(found) < FEWEST_VISITS:
        names = ", ".join(f"ses-{one.session}" for one in found) or "none"
        raise DataError(
            f"{person.name}: visits with a finished T1w: {names}; expected two or more. See the "
            "messages of the sessions, or run with --longitudinal off."
        )
    undated = [f"ses-{one.session}" for one in found if one.time is None]
    if undated:
        log.warning(
            "no acq_time of %s: placed among the visits by label, and changes from and to them are "
            "not given per year; add acq_time to sessions.tsv or scans.tsv.",
            ", ".join(undated),
        )


def _of_one_head(
    person: Session, found: Sequence[FinishedVisit], runner: Runner
) -> tuple[list[FinishedVisit], VisitFrame, list[str]]:
    """Return the visits that show one head, their frame, and what is said of the others.

    The visit that fits worst is left out until the rest fits: with it in the mean, others may look
    strange that are not.
    """
    kept, left_out = list(found), list[str]()
    while True:
        frame = runner.run(VISIT_FRAME, visit_frame, [_scan(one) for one in kept])
        if not frame.strangers():
            return kept, frame, left_out
        worst = int(np.argmin(frame.correlations))
        stranger = (
            f"ses-{kept[worst].session}, which does not match the other visits (correlation "
            f"{frame.correlations[worst]:.2f}, expected {frame.settings.min_correlation:g}): "
            "another person, or T1w of another contrast"
        )
        # Of two nobody can say which one it is.
        if len(kept) == FEWEST_VISITS:
            names = ", ".join(f"ses-{one.session}" for one in kept)
            raise DataError(
                f"{person.name}: {names} do not match each other (correlation "
                f"{frame.correlations[worst]:.2f}, expected {frame.settings.min_correlation:g}): "
                "another person, or T1w of another contrast. Check the labels; choose visits with "
                "--session-label."
            )
        left_out.append(stranger)
        del kept[worst]


def _scan(visit: FinishedVisit) -> VisitScan:
    brain = image(visit, "space-T1w_desc-brain_mask")
    return VisitScan(image(visit, "desc-preproc_T1w"), brain.like(brain.data > 0))


def _table(  # noqa: PLR0913 - what the rows are made from
    person: Session,
    found: Sequence[FinishedVisit],
    frame: VisitFrame,
    runner: Runner,
    changed: Mapping[tuple[int, int], LesionChanges],
    *,
    even: Sequence[Image],
    shared: SharedBorders,
) -> pd.DataFrame:
    """Return the rows of all pairs of neighbours, and of the first and the last visit."""
    last = len(found) - 1
    pairs = [(number, number + 1) for number in range(last)]
    pairs += [(0, last)] if last > 1 else []
    edges_mm = _edges_mm(found)
    rows: list[dict[str, object]] = []
    for first, second in pairs:
        names = [f"ses-{found[number].session}" for number in (first, second)]
        pair = VisitPair(
            participant_id=f"sub-{person.subject}",
            session_from=names[0],
            session_to=names[1],
            years=visits.years_between(found[first], found[second]),
            same_voxels=_same(edges_mm[first], edges_mm[second]),
        )
        changes = runner.run(VOLUME_CHANGE, volume_changes, even[first], even[second], shared)
        rows += volume_rows(pair, changes)
        rows += change_measures.of_thickness(pair, found, frame, (first, second))
        rows += change_measures.of_chi(pair, found, frame, (first, second))
        rows += change_measures.of_variants(pair, found[first], found[second])
        rows += change_measures.of_lesion_volume(pair, found[first], found[second])
        if (first, second) in changed:
            rows += _of_lesions(pair, changed[first, second])
    return pd.DataFrame(rows, columns=list(DICTIONARY))


def _edges_mm(found: Sequence[FinishedVisit]) -> list[NDArray[np.float64]]:
    """Return the edges of each visit's T1w voxels, sorted; say so where they differ."""
    affines = [nifti.shape_and_affine(one.files[visits.T1W])[1] for one in found]
    edges_mm = [np.sort(voxel_sizes_mm(affine)) for affine in affines]
    if not all(_same(edges_mm[0], other) for other in edges_mm):
        named = [
            f"ses-{one.session} {' x '.join(f'{edge:.2f}' for edge in edges)} mm"
            for one, edges in zip(found, edges_mm, strict=True)
        ]
        log.warning(
            "T1w of different voxel sizes (%s): this alone changes volumes and thickness, by more "
            "than their intervals allow for; no such change is called reliable.",
            ", ".join(named),
        )
    return edges_mm


def _same(first_mm: NDArray[np.float64], second_mm: NDArray[np.float64]) -> bool:
    return bool((np.abs(first_mm / second_mm - 1) <= SAME_VOXELS).all())


def _shared(found: Sequence[FinishedVisit], frame: VisitFrame) -> SharedBorders:
    """Return the mean of all visits' tissues and structures, in the frame."""
    tissues = {
        name: _mean(
            [image(one, f"space-T1w_label-{name.upper()}_probseg") for one in found],
            frame,
        )
        for name in ("gm", "wm", "csf")
    }
    labels = [image(one, "space-T1w_desc-deepgray_dseg") for one in found]
    sides = {
        index: _mean([one.like((one.data == index).astype(np.float32)) for one in labels], frame)
        for index in (*THALAMUS, *LATERAL_VENTRICLE)
    }
    return SharedBorders(
        brain=frame.brain,
        **tissues,
        thalamus=(sides[THALAMUS[0]], sides[THALAMUS[1]]),
        ventricles=(sides[LATERAL_VENTRICLE[0]], sides[LATERAL_VENTRICLE[1]]),
    )


def _mean(images: Sequence[Image], frame: VisitFrame) -> Image:
    carried = [frame.sampled(image, number, order=1).data for number, image in enumerate(images)]
    return frame.brain.like(np.asarray(np.mean(carried, axis=0), np.float32))


def _of_lesions(pair: VisitPair, found: LesionChanges) -> list[dict[str, object]]:
    """Return the rows of lesions; two masks do not say which ones are larger or smaller."""
    counts = {one: float(found.count(one)) for one in LesionChange}
    if found.source == OURS and not found.by_flair:
        counts |= dict.fromkeys((LesionChange.ENLARGED, LesionChange.SHRUNK), float("nan"))
    return lesion_rows(
        pair,
        {
            "new_count": counts[LesionChange.NEW],
            "new_volume": found.volume_mm3(LesionChange.NEW),
            "enlarged_count": counts[LesionChange.ENLARGED],
            "shrunk_count": counts[LesionChange.SHRUNK],
            "vanished_count": counts[LesionChange.VANISHED],
            "vanished_volume": found.volume_mm3(LesionChange.VANISHED),
        },
    )
