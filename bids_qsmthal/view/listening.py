"""The address to listen on where nobody names one: this machine alone, also out of a container.

A port that an engine publishes (``docker run -p 127.0.0.1:8765:8765``) arrives at the container's
own address, never at its 127.0.0.1. Who can reach the page is decided by that option, on the
machine outside.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

HERE: Final = "127.0.0.1"
EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 - of a container's own network, see below

MARKS: Final = (".dockerenv", "run/.containerenv")
"""What Docker and Podman put into each container. Apptainer, which uses the network of the machine,
has none of its own; an image that was made from one of Docker's may keep it."""

LOOPBACK: Final = "lo"


def address(root: Path = Path("/")) -> str:
    """Return ``EVERYWHERE`` in a container with a network of its own, else ``HERE``.

    Parameters
    ----------
    root
        Of the file system.
    """
    return EVERYWHERE if _in_container(root) and _own_network(root) else HERE


def is_cut_off(root: Path = Path("/")) -> bool:
    """Return whether this is a container without any network: no published port arrives."""
    return _in_container(root) and not _interfaces(root)


def _in_container(root: Path) -> bool:
    return any((root / mark).exists() for mark in MARKS)


def _interfaces(root: Path) -> list[Path]:
    return [one for one in (root / "sys/class/net").glob("*") if one.name != LOOPBACK]


def _own_network(root: Path) -> bool:
    """Return whether each interface is one end of a pair whose other end is outside.

    Linux says so by two numbers, which are equal for a card of the machine itself
    (Documentation/ABI/testing/sysfs-class-net): with ``--network host`` a page that listens
    everywhere would be open to the network of the machine.
    """
    interfaces = _interfaces(root)
    return bool(interfaces) and all(
        _number(one / "iflink") != _number(one / "ifindex") for one in interfaces
    )


def _number(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except OSError:
        # Not said: taken for a card of the machine, which is the safe side.
        return ""
