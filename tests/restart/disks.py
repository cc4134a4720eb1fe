"""Disks of their own whose room is as small as a test wants it: full ones, and a real quota."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.ship.conftest import missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KIB = 2**10

IMAGE_BYTES = 2**32
"""Of the file that holds the disk with a quota; it has holes and takes what is written to it."""


@dataclass(frozen=True)
class Disk:
    """A folder on a disk of its own.

    Attributes
    ----------
    place
        The folder.
    says
        What the system says where no room is left.
    leave
        Leaves so much room (bytes) beside what is there.
    """

    place: Path
    says: str
    leave: Callable[[int], None]

    def leave_plenty(self) -> None:
        """Leave more room than any run takes."""
        self.leave(IMAGE_BYTES // 2)


def run(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def mounted(place: Path, what: str, *words: str) -> None:
    place.mkdir()
    done = subprocess.run(["mount", *words, str(place)], capture_output=True, check=False)
    if done.returncode:
        missing(what)


@contextmanager
def full(root: Path) -> Iterator[Disk]:
    """Give a disk that becomes full: pages of memory, which the system rounds up to 4 KiB."""
    place = root / "full"
    mounted(place, "the right to mount a tmpfs", "-t", "tmpfs", "-o", "size=16k", "tmpfs")

    def leave(room: int) -> None:
        size_kib = (shutil.disk_usage(place).used + room) // KIB
        run("mount", "-o", f"remount,size={size_kib}k", str(place))

    try:
        yield Disk(place, "No space left", leave)
    finally:
        run("umount", "-l", str(place))


@contextmanager
def quota(root: Path) -> Iterator[Disk]:
    """Give a folder for which the kernel keeps a quota (btrfs) on a disk that has room."""
    if not shutil.which("mkfs.btrfs"):
        missing("btrfs-progs")
    image, disk = root / "quota.image", root / "quota"
    with image.open("wb") as stream:
        stream.truncate(IMAGE_BYTES)
    run("mkfs.btrfs", "--quiet", str(image))
    what = "a btrfs of this kernel with the right to mount it by a loop device"
    mounted(disk, what, "-t", "btrfs", "-o", "loop", str(image))
    place = disk / "limited"
    run("btrfs", "subvolume", "create", str(place))
    run("btrfs", "quota", "enable", str(disk))
    group = f"0/{run('btrfs', 'inspect-internal', 'rootid', str(place)).strip()}"

    def leave(room: int) -> None:
        # What was written and is not on the disk yet is not counted yet.
        run("btrfs", "filesystem", "sync", str(disk))
        rows = run("btrfs", "qgroup", "show", "--raw", str(disk)).splitlines()
        used = next(int(row.split()[1]) for row in rows if row.split()[:1] == [group])
        # Through the whole disk: a folder without room has none for its own new limit either.
        run("btrfs", "qgroup", "limit", str(used + room), group, str(disk))

    try:
        yield Disk(place, "Disk quota exceeded", leave)
    finally:
        run("umount", "-l", str(disk))


KINDS = {"full": full, "quota": quota}
