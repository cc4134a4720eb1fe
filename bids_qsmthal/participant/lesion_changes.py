"""Which lesions of a visit are new or larger since the visit before: proposed, or by a reader."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from bids_qsmthal.bids import external
from bids_qsmthal.bids.dataset import Session
from bids_qsmthal.bids.derivatives import Derivatives
from bids_qsmthal.bids.products import PRODUCTS
from bids_qsmthal.bids.sidecars import read_json
from bids_qsmthal.core import nifti
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.sources import OURS, Source
from bids_qsmthal.lesions import LesionChange, VisitLesions, lesion_changes
from bids_qsmthal.lesions.growth import components
from bids_qsmthal.participant import external_labels, label_tables
from bids_qsmthal.participant.pipeline import LESION_CHANGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bids_qsmthal.anatomy.visits import VisitFrame
    from bids_qsmthal.bids.visits import FinishedVisit
    from bids_qsmthal.core.image import Image
    from bids_qsmthal.participant.runner import Runner

log = logging.getLogger(__name__)

KEY = "lesion_change"
NUMBERED, LESIONS, BRAIN = (
    f"{PRODUCTS[key].ending}.nii.gz" for key in ("lesion_labels", "lesion", "brain")
)


@dataclass(frozen=True, slots=True, eq=False)
class LesionChanges:
    """What became of the lesions of a visit since the one before.

    Attributes
    ----------
    changes
        Numbers of ``LesionChange``, on the grid of the later visit's T1w.
    lesions
        The numbered lesions of that visit.
    source
        Who decided.
    """

    changes: Image
    lesions: Image
    source: Source

    def count(self, change: LesionChange) -> int:
        """Return how many lesions changed so: numbered ones, and what a reader drew elsewhere."""
        inside = self.changes.data == change
        numbers = np.unique(self.lesions.data[inside])
        pieces, drawn = components(inside)
        known = np.unique(pieces[inside & (self.lesions.data > 0)])
        return int(np.count_nonzero(numbers)) + drawn - known.size

    def volume_mm3(self, change: LesionChange) -> float:
        """Return the volume of the lesions that changed so."""
        return float(np.count_nonzero(self.changes.data == change) * self.changes.voxel_volume_mm3)


def save(
    person: Session,
    found: Sequence[FinishedVisit],
    frame: VisitFrame,
    runner: Runner,
    out: Derivatives,
) -> dict[tuple[int, int], LesionChanges]:
    """Save the lesion changes of every visit but the first; return them by the pair of visits.

    A pair is left out where one of its visits has no lesions that were looked for.

    Raises
    ------
    DataError
        A reader's edit is no label image of changes.
    """
    made = {}
    for pair in pairwise(range(len(found))):
        first, second = (found[number] for number in pair)
        lacking = [
            f"ses-{one.session} has no {name}"
            for one in (first, second)
            for name in (LESIONS, BRAIN)
            if name not in one.files
        ]
        if lacking:
            log.info("%s: no lesion changes.", lacking[0])
            continue
        ways = [frame.to_visits[number] for number in pair]
        earlier, later = _shown(first), _shown(second)
        way = ways[0] @ np.linalg.inv(ways[1])
        proposed = runner.run(LESION_CHANGE, lesion_changes, earlier, later, way)
        made[pair] = _read(person, second.session, proposed, later.numbered, out)
        _write(made[pair], first, second, out)
    return made


def _shown(visit: FinishedVisit) -> VisitLesions:
    mask, brain = (nifti.load(visit.files[name], dtype=np.uint8) for name in (LESIONS, BRAIN))
    return VisitLesions(_numbered(visit), mask, brain)


def _numbered(visit: FinishedVisit) -> Image:
    """Return the numbered lesions of a visit; they are told apart where there is a gradient echo.

    Without one, the parts of the mask that do not touch are numbered.
    """
    if NUMBERED in visit.files:
        return nifti.load(visit.files[NUMBERED], dtype=np.int32)
    mask = nifti.load(visit.files[LESIONS], dtype=np.uint8)
    return mask.like(components(mask.data > 0)[0])


def _read(
    person: Session, session: str, proposed: Image, lesions: Image, out: Derivatives
) -> LesionChanges:
    """Return a reader's edit where there is one, else what is proposed."""
    visit = Session(root=person.root, subject=person.subject, session=session)
    edit = external.edit_of(KEY, visit, out.output_dir)
    if edit is None:
        return LesionChanges(proposed, lesions, OURS)
    read = external.read(KEY, edit, visit)
    drawn = external_labels.on(KEY, {KEY: read}, lesions)
    if drawn is None or drawn.data.max() > max(LesionChange):
        raise DataError(
            f"{edit.path}: values above {max(LesionChange)}, expected 0, 1 (new), 2 (enlarged), 3 "
            "(shrunk) and 4 (vanished); correct or remove the file."
        )
    return LesionChanges(drawn.like(drawn.data.astype(np.uint8)), lesions, read.source)


def _write(
    found: LesionChanges, first: FinishedVisit, second: FinishedVisit, out: Derivatives
) -> None:
    """Write the image beside the other images of the later visit."""
    lesions = second.files[LESIONS]
    sidecar = read_json(lesions.with_name(lesions.name.replace(".nii.gz", ".json")))
    of_visit = Derivatives(
        output_dir=out.output_dir,
        entities=(*out.entities, ("ses", second.session)),
        gre_entities=(),
        references={"T1w": str(sidecar.get("SpatialReference", ""))},
        codes={"T1w": nifti.world_code(lesions)},
        # Listed with the comparison that makes it, not with the session.
        made=out.made,
    )
    sources = [
        f"bids::{path.relative_to(out.output_dir).as_posix()}"
        for path in (
            *(one.files.get(NUMBERED, one.files[LESIONS]) for one in (second, first)),
            *(one.files[BRAIN] for one in (first, second)),
        )
    ]
    method = {"ChangesBy": str(found.source), "VisitBefore": f"ses-{first.session}"}
    of_visit.save(KEY, found.changes, sources=sources, method=method, dtype=np.uint8)
    names = {int(one): one.name.lower() for one in LesionChange}
    of_visit.save_labels(KEY, label_tables.of_names(names))
