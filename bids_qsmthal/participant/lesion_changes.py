"""Which lesions of a visit are new or larger since the visit before: proposed, or by a reader."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from bids_qsmthal.anatomy import read_itk_affine_text
from bids_qsmthal.bids import external
from bids_qsmthal.bids.dataset import Session
from bids_qsmthal.bids.derivatives import Derivatives
from bids_qsmthal.bids.products import PRODUCTS
from bids_qsmthal.bids.sidecars import read_json
from bids_qsmthal.core import nifti
from bids_qsmthal.core.errors import DataError, at
from bids_qsmthal.core.image import Image
from bids_qsmthal.core.sources import OURS, Source
from bids_qsmthal.lesions import LesionChange, VisitFlair, VisitLesions, lesion_changes
from bids_qsmthal.lesions.growth import components
from bids_qsmthal.participant import external_labels, label_tables
from bids_qsmthal.participant.pipeline import LESION_CHANGE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bids_qsmthal.anatomy.visits import VisitFrame
    from bids_qsmthal.bids.visits import FinishedVisit
    from bids_qsmthal.lesions import LesionsChanged
    from bids_qsmthal.participant.runner import Runner

log = logging.getLogger(__name__)

KEY = "lesion_change"
NUMBERED, LESIONS, BRAIN, GRAY, WHITE = (
    f"{PRODUCTS[key].ending}.nii.gz" for key in ("lesion_labels", "lesion", "brain", "gm", "wm")
)
FLAIR_TO_T1W = "from-T1w_to-FLAIR_mode-image_xfm.txt"
"""Resamples T1w onto FLAIR: it takes points of FLAIR to T1w."""
LESIONS_ON_FLAIR = f"{PRODUCTS['lesion_flair'].ending}.json"


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
    by_flair
        Whether the FLAIR of both visits were compared; else what is larger or smaller is not known
        but by a reader.
    """

    changes: Image
    lesions: Image
    source: Source
    by_flair: bool

    def count(self, change: LesionChange) -> int:
        """Return how many lesions changed so: numbered ones, and what a reader drew elsewhere."""
        inside = self.changes.data == change
        if not inside.any():
            return 0
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
        earlier, later = (_shown(one, person.root) for one in (first, second))
        way = ways[0] @ np.linalg.inv(ways[1])
        proposed = runner.run(LESION_CHANGE, lesion_changes, earlier, later, way)
        made[pair] = _read(person, second.session, proposed, later.numbered, out)
        _write(made[pair], first, second, out)
    return made


def _shown(visit: FinishedVisit, root: Path) -> VisitLesions:
    mask, brain = (nifti.load(visit.files[name], dtype=np.uint8) for name in (LESIONS, BRAIN))
    return VisitLesions(_numbered(visit), mask, brain, _scan(visit, root))


def _scan(visit: FinishedVisit, root: Path) -> VisitFlair | None:
    """Return FLAIR and tissue where the mask was found in them; ``None`` where somebody drew it."""
    lesions = visit.files[LESIONS]
    sidecar = read_json(lesions.with_name(lesions.name.replace(".nii.gz", ".json")))
    method = sidecar.get("Method")
    # The method of the app stands there only where the app has found the mask.
    if not isinstance(method, dict) or "Lesions" not in method:
        return None
    if GRAY not in visit.files or WHITE not in visit.files:
        return None
    flair = flair_of(root, visit)
    if flair is None:
        return None
    return VisitFlair(flair, nifti.load(visit.files[WHITE]), nifti.load(visit.files[GRAY]))


def flair_of(root: Path, visit: FinishedVisit) -> Image | None:
    """Return the FLAIR of a visit in the world of its T1w; ``None`` where it is not there.

    No voxel is resampled: its header moves.
    """
    if FLAIR_TO_T1W not in visit.files or LESIONS_ON_FLAIR not in visit.files:
        return None
    address = str(read_json(visit.files[LESIONS_ON_FLAIR]).get("SpatialReference", ""))
    inside = PurePosixPath(address.removeprefix("bids:raw:"))
    # The address comes from a file of the output folder: it leads into the dataset or nowhere.
    if not address.startswith("bids:raw:") or inside.is_absolute() or ".." in inside.parts:
        return None
    path = root / inside
    if not path.is_file():
        return None
    with at(visit.files[FLAIR_TO_T1W]):
        to_t1w = read_itk_affine_text(visit.files[FLAIR_TO_T1W].read_text(encoding="utf-8"))
    scan = nifti.load(path)
    return Image(scan.data, to_t1w @ scan.affine)


def _numbered(visit: FinishedVisit) -> Image:
    """Return the numbered lesions of a visit; they are told apart where there is a gradient echo.

    Without one, the parts of the mask that do not touch are numbered.
    """
    if NUMBERED in visit.files:
        return nifti.load(visit.files[NUMBERED], dtype=np.int32)
    mask = nifti.load(visit.files[LESIONS], dtype=np.uint8)
    return mask.like(components(mask.data > 0)[0])


def _read(
    person: Session, session: str, proposed: LesionsChanged, lesions: Image, out: Derivatives
) -> LesionChanges:
    """Return a reader's edit where there is one, else what is proposed."""
    visit = Session(root=person.root, subject=person.subject, session=session)
    edit = external.edit_of(KEY, visit, out.output_dir)
    if edit is None:
        return LesionChanges(proposed.changes, lesions, OURS, proposed.by_flair)
    read = external.read(KEY, edit, visit)
    drawn = external_labels.on(KEY, {KEY: read}, lesions)
    if drawn is None or drawn.data.max() > max(LesionChange):
        raise DataError(
            f"{edit.path}: values above {max(LesionChange)}, expected 0, 1 (new), 2 (enlarged), 3 "
            "(shrunk) and 4 (vanished); correct or remove the file."
        )
    labels = drawn.like(drawn.data.astype(np.uint8))
    return LesionChanges(labels, lesions, read.source, proposed.by_flair)


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
