"""What the page of change shows, gathered from the finished visits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bids_qsmthal import __version__, report
from bids_qsmthal.bids import visits
from bids_qsmthal.bids.derivatives import package_versions
from bids_qsmthal.bids.products import PRODUCTS
from bids_qsmthal.core.sources import OURS
from bids_qsmthal.lesions import LesionChange
from bids_qsmthal.participant.change_measures import image
from bids_qsmthal.participant.lesion_changes import flair_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from bids_qsmthal.anatomy.visits import VisitFrame
    from bids_qsmthal.anatomy.volume_change import SharedBorders
    from bids_qsmthal.bids.dataset import Session
    from bids_qsmthal.bids.derivatives import Derivatives
    from bids_qsmthal.bids.visits import FinishedVisit
    from bids_qsmthal.core.image import Image
    from bids_qsmthal.participant.lesion_changes import LesionChanges
    from bids_qsmthal.settings import Settings

BRAIN = "space-T1w_desc-brain_mask"


def contents(  # noqa: PLR0913 - what came of each part of the comparison
    person: Session,
    settings: Settings,
    found: Sequence[FinishedVisit],
    frame: VisitFrame,
    even: Sequence[Image],
    shared: SharedBorders,
    *,
    table: pd.DataFrame,
    changed: Mapping[tuple[int, int], LesionChanges],
    out: Derivatives,
) -> report.ChangeReport:
    """Gather what the page shows.

    Pictures are cut to the brain and a margin: what lies outside shows no change, but a face.
    """
    sides = (*shared.thalamus, *shared.ventricles)
    outlines = {"brain": frame.brain} | {
        name: frame.brain.like((np.maximum(one.data, two.data) > 0.5).astype(np.uint8))
        for name, one, two in (("thalami", *sides[:2]), ("lateral ventricles", *sides[2:]))
    }
    return report.ChangeReport(
        participant_id=f"sub-{person.subject}",
        visits=[
            report.VisitShown(
                session_id=f"ses-{one.session}",
                day=one.time.date().isoformat() if one.time else "",
                years=0.0 if one is found[0] else visits.years_between(found[0], one),
                t1w=report.near_brain(t1w, frame.brain),
                pages=_pages(out, one),
            )
            for one, t1w in zip(found, even, strict=True)
        ],
        table=table,
        outlines=outlines,
        steps=[
            _step(person, (found[pair[0]], found[pair[1]]), frame, pair, lesions)
            for pair, lesions in changed.items()
        ],
        proposed_by=str(OURS),
        versions={"bids_qsmthal": __version__, **package_versions()},
        command=settings.shown_command,
    )


def _pages(out: Derivatives, visit: FinishedVisit) -> list[str]:
    """Return the pages of a visit, one a gradient echo."""
    name = f"{out.session_name}_ses-{visit.session}"
    names = [path.name for path in out.output_dir.glob(f"{name}*.html")]
    return sorted(
        one
        for one in names
        if one.removeprefix(name)[0] in "._" and not one.endswith("_failed.html")
    )


def _step(
    person: Session,
    pair: tuple[FinishedVisit, FinishedVisit],
    frame: VisitFrame,
    numbers: tuple[int, int],
    lesions: LesionChanges,
) -> report.LesionStep:
    """Return the lesion changes between two visits, on FLAIR where both still have it."""
    first, second = pair
    flairs = [flair_of(person.root, one) for one in pair]
    if flairs[0] is not None and flairs[1] is not None:
        scan, shown = "FLAIR", [flairs[0], flairs[1]]
    else:
        scan, shown = "T1w", [image(one, "desc-preproc_T1w") for one in pair]
    earlier, later = (
        report.near_brain(one, image(visit, BRAIN)) for one, visit in zip(shown, pair, strict=True)
    )
    ways = [frame.to_visits[number] for number in numbers]
    folder = f"sub-{person.subject}/ses-{second.session}"
    name = f"{folder.replace('/', '_')}_{PRODUCTS['lesion_change'].ending}.nii.gz"
    return report.LesionStep(
        session_from=f"ses-{first.session}",
        session_to=f"ses-{second.session}",
        changes=lesions.changes,
        counts={report.CHANGE_WORDS[int(one)]: lesions.count(one) for one in LesionChange},
        later=later,
        earlier=earlier,
        to_earlier=ways[0] @ np.linalg.inv(ways[1]),
        scan=scan,
        source=str(lesions.source),
        by_flair=lesions.by_flair,
        edit=f"OUTPUT_DIR/edits/{folder}/anat/{name}",
    )
