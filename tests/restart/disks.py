"""Disks of their own: with as little room as a test wants, with a real quota, and ones that fail.

What fails is real: a file system of the kernel (ext4) on a loop device whose file is the disk.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.ship.conftest import missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
    exact
        Whether what is written takes what it is long, so that it is known what finds no room.
    """

    place: Path
    says: str
    leave: Callable[[int], None]
    exact: bool = True

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
        # The kernel sets room aside for its own tables before each writing, more on a busy machine.
        yield Disk(place, "Disk quota exceeded", leave, exact=False)
    finally:
        run("umount", "-l", str(disk))


KINDS = {"full": full, "quota": quota}


BLOCK_BYTES = 4096
FAILING_BYTES = 2**28
"""Of a disk that fails; ext4 takes a sixteenth of it for itself."""

FIBMAP = 1
"""ioctl(2): which block of the disk holds a block of a file (linux/fs.h)."""

SHUTDOWN = 0x8004587D
"""ioctl(2): everything fails from now on (``EXT4_IOC_SHUTDOWN``, fs/ext4/ext4.h)."""

WITHOUT_JOURNAL = 2
"""What has not reached the disk is lost, as by a power cut (``EXT4_GOING_FLAGS_NOLOGFLUSH``)."""


@dataclass
class FailingDisk:
    """A disk that can be made to fail and be mended; ``place`` is its folder."""

    place: Path
    image: Path
    _behind: bytes = field(default=b"", repr=False)

    def put_in(self) -> None:
        """Mount it."""
        run("mount", "-o", "loop,errors=remount-ro", str(self.image), str(self.place))

    def take_out(self) -> None:
        """Unmount it; what is put in next is another device, with nothing of this one in memory.

        Where a process with mounts of its own (a container) began while it was mounted, it stays
        mounted there, and the same image would be the same file system: dead, if it had died.
        """
        # A dead disk says that it cannot.
        subprocess.run(["sync", "-f", str(self.place)], capture_output=True, check=False)
        run("umount", str(self.place))
        used, self.image = self.image, self.image.with_name(f"next-{self.image.name}")
        run("cp", "--sparse=always", str(used), str(self.image))
        used.unlink()

    def dies(self) -> None:
        """Let every reading and writing fail from now on; what is not on the disk yet is lost."""
        folder = os.open(self.place, os.O_RDONLY)
        fcntl.ioctl(folder, SHUTDOWN, struct.pack("I", WITHOUT_JOURNAL))
        os.close(folder)

    def turns_read_only(self) -> None:
        """Let the kernel find a fault in it, after which it lets nobody write."""
        device = run("losetup", "--noheadings", "--output", "NAME", "-j", str(self.image)).strip()
        Path("/sys/fs/ext4", Path(device).name, "trigger_fs_error").write_text("1")

    def put_last(self, file: Path) -> None:
        """Put the blocks of a file behind those of all others."""
        os.sync()
        others = max(_first_byte(path) for path in self.place.rglob("*") if path.is_file())
        content, before = file.read_bytes(), [file]
        # New files take what is free in front; so many take all of it.
        while _first_byte(file) <= others:
            before.append(file.with_name(f"{len(before)}-{file.name}"))
            file.replace(before[-1])
            file.write_bytes(content)
            os.sync()
        for copy in before[1:]:
            copy.unlink()

    def cannot_read(self, file: Path) -> None:
        """Let the blocks of a file, and all behind them, be unreadable."""
        os.sync()
        begin = _first_byte(file)
        self.take_out()
        with self.image.open("rb") as stream:
            stream.seek(begin)
            self._behind = stream.read()
        # The device stays as large as it was when it was put in: what its file does not hold any
        # more cannot be read.
        self.put_in()
        os.truncate(self.image, begin)

    def mend(self) -> None:
        """Make it a good disk again, as far as its file system can be restored."""
        self.take_out()
        if self._behind:
            os.truncate(self.image, FAILING_BYTES - len(self._behind))
            with self.image.open("ab") as stream:
                stream.write(self._behind)
            self._behind = b""
        # 1: it found faults, and mended them.
        done = subprocess.run(["e2fsck", "-fy", str(self.image)], capture_output=True, check=False)
        assert done.returncode in {0, 1}, done.stdout
        self.put_in()


def _first_byte(file: Path) -> int:
    """Return where on its disk a file begins."""
    with file.open("rb") as stream:
        found = fcntl.ioctl(stream, FIBMAP, struct.pack("i", 0))
    return int(struct.unpack("i", found)[0]) * BLOCK_BYTES


@contextmanager
def failing(root: Path) -> Iterator[FailingDisk]:
    """Give a good disk, which can be made to fail."""
    if not shutil.which("mkfs.ext4"):
        missing("e2fsprogs")
    disk = FailingDisk(root / "failing", root / "failing.image")
    with disk.image.open("wb") as stream:
        stream.truncate(FAILING_BYTES)
    run("mkfs.ext4", "-q", "-F", "-b", str(BLOCK_BYTES), str(disk.image))
    words = ("-o", "loop,errors=remount-ro", str(disk.image))
    mounted(
        disk.place, "an ext4 of this kernel with the right to mount it by a loop device", *words
    )
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk.place)], check=False)
