"""What may surround a run and must not show in its bytes: language, clock, home, folder, umask."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = "Ölçüm ıİ dir"
"""Letters that change their case in Turkish only, and spaces."""

PRIVATE = 0o077
"""A umask that leaves nothing to others."""

SOMEBODY_ELSE = ("unshare", "--user", "--map-user=12345", "--map-group=12345")
"""What starts a command as a user without a name: its process, and all files of the one who
tests, have this number within a namespace of the kernel. Nobody's rights change."""


@pytest.fixture(scope="session")
def locales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with locales whose decimal comma, order and case differ from English."""
    folder = tmp_path_factory.mktemp("locales")
    for name in ("tr_TR", "de_DE"):
        command = ["localedef", "-i", name, "-f", "UTF-8", str(folder / f"{name}.UTF-8")]
        subprocess.run(command, check=True, capture_output=True)
    look = "import locale; locale.setlocale(locale.LC_ALL, ''); print(locale.str(1.5))"
    spoken = {**os.environ, "LOCPATH": str(folder), "LC_ALL": "tr_TR.UTF-8"}
    assert subprocess.check_output([sys.executable, "-c", look], env=spoken) == b"1,5\n"
    return folder


def elsewhere(locales: Path, language: str) -> dict[str, str]:
    """Return the environment of somebody else, at the other end of the world."""
    return {
        "LOCPATH": str(locales),
        "LC_ALL": f"{language}.UTF-8",
        "LANG": "de_DE.UTF-8",
        "TZ": "Pacific/Kiritimati",
        "PYTHONHASHSEED": "4711",
        "HOME": str(locales.parent),
        "USER": "somebody",
        "LOGNAME": "somebody",
    }
