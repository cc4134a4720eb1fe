import os
from pathlib import Path

import pytest

from bids_qsmthal.core import files


def test_two_who_write_a_file_at_once_both_succeed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "CITATION.md"
    flush = os.fsync

    def meanwhile(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", flush)
        files.write_text(path, "of another run, which has the same process number on its node")
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", meanwhile)
    files.write_text(path, "ours")
    assert path.read_text() == "ours"
    assert list(tmp_path.iterdir()) == [path]
