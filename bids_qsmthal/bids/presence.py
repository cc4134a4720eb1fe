"""Whether the dataset still has the images that results were made from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

NO_SESSION = "n/a"
"""The session of those who have no folders of sessions, as tables write it."""

IMAGES = "anat/*.nii*"
"""By name: a link whose content is elsewhere (git-annex) is an image, too."""


def without_images(bids_dir: Path, sessions: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return the sessions of which a dataset has no image: renamed there, or withdrawn.

    A dataset without any image, such as one of tables alone, tells nothing; neither does a
    participant whose folder is empty, as that of a subdataset which is not installed.

    Parameters
    ----------
    bids_dir
        The dataset.
    sessions
        Participant (``sub-01``) and session (``ses-a``, or ``n/a`` without folders of sessions).
    """
    if not _has_images(bids_dir):
        return set()
    return {one for one in sessions if _is_gone(bids_dir, *one)}


def _has_images(bids_dir: Path) -> bool:
    # Not by glob: it lists a folder of thousands to its end before it gives the first.
    with os.scandir(bids_dir) as entries:
        folders = (Path(entry.path) for entry in entries if entry.name.startswith("sub-"))
        return any(
            any(folder.glob(pattern))
            for folder in folders
            for pattern in (IMAGES, f"ses-*/{IMAGES}")
        )


def _is_gone(bids_dir: Path, participant: str, session: str) -> bool:
    folder = bids_dir / participant
    if not folder.is_dir():
        return True
    if not any(folder.iterdir()):
        return False
    place = folder if session == NO_SESSION else folder / session
    return not any(place.glob(IMAGES))
