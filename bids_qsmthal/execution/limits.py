"""What this process may use of the machine: its cores and memory, as the kernel limits them.

A container or a job of a cluster is a control group (cgroup) with a quota of processor time and a
bound on memory, which counts of cores and of bytes on the machine do not show.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

GROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def cores(groups: Path = GROUPS, membership: Path = MEMBERSHIP) -> int:
    """Return how many cores are worth using: the affinity mask, cut by the quotas of the groups.

    Parameters
    ----------
    groups
        Where the kernel shows control groups.
    membership
        The file that says in which groups this process is.
    """
    # joblib.cpu_count reads the quota of the outermost group only and rounds it up: it finds that
    # of docker's --cpus, but not that of a job, a session or a service (CPUQuota of systemd).
    found = [float(len(os.sched_getaffinity(0)))]
    for folder in _folders("cpu", groups, membership):
        # Version 2 has both numbers in one file, "max" for no quota; version 1 has -1.
        quota, period = (*_words(folder / "cpu.max"), "", "")[:2]
        if not quota:
            quota = "".join(_words(folder / "cpu.cfs_quota_us"))
            period = "".join(_words(folder / "cpu.cfs_period_us"))
        if quota.isdigit() and period.isdigit() and int(period):
            found.append(int(quota) / int(period))
    # Rounded down: with a quota of 1.5 two threads wait for each other.
    return max(1, int(min(found)))


def memory_bytes(groups: Path = GROUPS, membership: Path = MEMBERSHIP) -> int:
    """Return the memory of the machine, cut by the bounds of the groups (see ``cores``)."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for folder in _folders("memory", groups, membership):
        for name in ("memory.max", "memory.limit_in_bytes"):
            word = "".join(_words(folder / name))
            # Without a bound version 2 says "max"; version 1 has a number near 2^63, which min()
            # passes over.
            if word.isdigit():
                found.append(int(word))
    return min(found)


def _folders(controller: str, groups: Path, membership: Path) -> Iterator[Path]:
    """Yield the folders of this process's groups, each with all groups around it."""
    for line in _lines(membership):
        # Version 2 has one line with no controllers, ``0::/path``; version 1 a line for each.
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        for root in (groups / controller, groups / "unified", groups):
            # Inside a container the path may be that of the host, and not be there: the root is.
            here = root / path.lstrip("/")
            yield from (place for place in (here, *here.parents) if place.is_relative_to(root))


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except OSError:
        return []  # another version of control groups, or none: nothing limits by this file
