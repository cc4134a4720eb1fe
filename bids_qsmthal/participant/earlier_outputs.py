"""What earlier runs left in the output folder and the run that just finished did not make.

The files of a participant and session belong to scans (a gradient echo each), or to all scans of
the session alike where they are made from T1w, FLAIR and post-contrast T1w. What belongs to the
scan that just finished, or to a scan that the dataset has no more, and was not made now, goes.
Only what a manifest lists or the catalogue names is touched: never a user's own files.
"""

from __future__ import annotations

import re
from itertools import takewhile
from typing import TYPE_CHECKING

from bids_qsmthal.bids import manifest
from bids_qsmthal.bids.dataset import GRE_SUFFIXES
from bids_qsmthal.bids.products import OF_VISITS, PRODUCTS
from bids_qsmthal.bids.sidecars import entities_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from bids_qsmthal.bids.dataset import Session
    from bids_qsmthal.bids.derivatives import Derivatives

OF_PRODUCTS = frozenset({"space", "desc", "label", "from", "to", "mode"})
"""Entities by which the name of an output goes on after those of its scan."""

OF_PARTS = frozenset({"echo", "part"})
"""Entities of raw files that are one scan together."""

EXTENSIONS = (".nii.gz", ".json", ".tsv")

SHARED = re.compile(
    "|".join(
        (
            *(
                re.escape(f"{product.ending}{extension}")
                for key, product in PRODUCTS.items()
                for extension in EXTENSIONS
                if product.space != "MEGRE" and key not in OF_VISITS
            ),
            r"label-(lesion|enhancing)_lesions\.(tsv|json)",
            r"space-T1w_desc-atlas[A-Za-z0-9]+_dseg\.(nii\.gz|json|tsv)",
            # Transforms of the gradient echo belong to one scan, hence the look-ahead.
            r"from-(?!MEGRE)\w+_to-(?!MEGRE)\w+_mode-image_xfm\.(txt|json|nii\.gz)",
        )
    )
)
"""Names, after the participant and session, of what all scans of a session have in common."""

# Both patterns are matched whole: a user's file with a longer name is none of ours.
OF_SCAN = re.compile(
    "|".join(
        (
            *(
                re.escape(f"{product.ending}{extension}")
                for product in PRODUCTS.values()
                for extension in EXTENSIONS
                if product.space == "MEGRE"
            ),
            r"desc-qsmthal_(measures|quality|sensitivity|acquisition|lesions)\.(tsv|json)",
            r"desc-atlases_lesions\.(tsv|json)",
            r"from-\w+_to-\w+_mode-image_xfm\.(txt|json)",
        )
    )
)
"""Names, after those of a scan, of what is made from its gradient echo."""

FIGURE = re.compile(r"(desc-\S+\.(svg|png|jpg|jpeg|webp))|viewer\.html")


def earlier_outputs(session: Session, out: Derivatives, made: Collection[Path]) -> list[Path]:
    """Return the files that are of no finished run any more, sorted.

    Parameters
    ----------
    session
        The scans that were processed.
    out
        Where its outputs go.
    made
        What the run that just finished wrote.
    """
    # What other scans made, also in a run that has not finished again yet, is not ours to remove.
    others = scans_of(session) - {session.name}
    entries = manifest.entries_of(out.output_dir, out.session_name)
    kept = {
        out.output_dir / entry.path for entry in entries if others & {*entry.scans, *entry.outdated}
    }
    listed = manifest.own_places(out.output_dir, out.session_name, entries)
    candidates = {
        *(path for path in listed if path not in kept and path.is_file()),
        *_by_name(out, others),
        # Every scan of a session makes the shared files alike: what this run did not make, no other
        # one would make now.
        *(path for path in kept & listed if _is_shared(path, out) and path.is_file()),
    }
    return sorted(candidates - set(made))


def scans_of(session: Session) -> set[str]:
    """Return the names of the scans that the dataset has of a participant and session."""
    begin = "_".join(f"{key}-{value}" for key, value in session.entities)
    folder = session.root.joinpath(*begin.split("_"), "anat")
    names = {session.name}
    for path in folder.glob(f"{begin}_*.nii*"):
        entities, suffix = entities_of(path)
        if suffix in GRE_SUFFIXES:
            names.add("_".join(f"{k}-{v}" for k, v in entities if k not in OF_PARTS))
    return names


def _by_name(out: Derivatives, others: Collection[str]) -> Iterator[Path]:
    """Return files with names of the catalogue that belong to none of the other scans."""
    for path in out.folder.glob(f"{out.session_name}_*"):
        scan, rest = _split(path)
        if _is_shared(path, out) or (scan not in others and OF_SCAN.fullmatch(rest)):
            yield path
    for path in (out.session_folder / "figures").glob(f"{out.session_name}_*"):
        scan, rest = _split(path)
        if scan not in others and FIGURE.fullmatch(rest):
            yield path
    logs = out.output_dir / "logs"
    pages = out.output_dir.glob(f"{out.session_name}*.html")
    texts = logs.glob(f"{out.session_name}*_CITATION.*")
    for path, scan in (
        *((path, path.stem) for path in pages),
        *((path, path.name.split("_CITATION.")[0]) for path in texts),
    ):
        if scan not in others and _is_scan_of(scan, out):
            yield path


def _is_shared(path: Path, out: Derivatives) -> bool:
    scan, rest = _split(path)
    own = path.parent == out.folder and scan == out.session_name
    return own and SHARED.fullmatch(rest) is not None


def _split(path: Path) -> tuple[str, str]:
    """Split the name of an output into that of its scan and the rest."""
    pairs = takewhile(lambda pair: pair[0] not in OF_PRODUCTS, entities_of(path)[0])
    scan = "_".join(f"{key}-{value}" for key, value in pairs)
    return scan, path.name.removeprefix(f"{scan}_")


def _is_scan_of(name: str, out: Derivatives) -> bool:
    """Say whether this can be the name of a scan of the session, and of no other session."""
    begin = out.session_name
    if name == begin:
        return True
    # sub-01_ses-2 is no scan of a sub-01 without sessions, although its name begins so.
    more = name.removeprefix(f"{begin}_")
    return more != name and re.fullmatch(r"(?!ses-)\w+-\w+(_(?!ses-)\w+-\w+)*", more) is not None
