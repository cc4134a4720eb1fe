"""What decides over reuse: the digest of a stage moves with all that its result depends on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest

from bids_qsmthal.participant.runner import code_version

ROOMS = ("anatomy", "lesions", "qsm", "roi")

CHANGES = {
    "data/atlas/desc-deepgray_dseg.tsv": {"anatomy"},
    "data/weights/deepbet_mask.onnx": {"anatomy"},
    "core/image.py": {*ROOMS},
    "core/nifti.py": {*ROOMS},
    "anatomy/registration.py": {"anatomy"},
    "lesions/flair.py": {"lesions"},
    "qsm/medi.py": {"qsm", "roi"},
    "qsm/acquisition.py": {"qsm", "roi"},
    "roi/reference.py": {"roi"},
    "report/mosaic.py": set(),
    "group/fitting.py": set(),
}
"""A file of the package, and the rooms whose results depend on it."""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package; its data are links, which take no time and no room."""
    folder = tmp_path_factory.mktemp("digest") / "bids_qsmthal"
    source = Path(str(resources.files("bids_qsmthal")))
    ignored = shutil.ignore_patterns("__pycache__", "data", "templates")
    shutil.copytree(source, folder, ignore=ignored)
    for path in (source / "data").rglob("*"):
        place = folder / path.relative_to(source)
        if path.is_file():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(path)
    return folder


@pytest.fixture
def digests(package: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, str]]:
    """Computes the digest of every room from the copy."""
    monkeypatch.setattr(resources, "files", lambda _: package)

    def compute() -> dict[str, str]:
        code_version.cache_clear()
        return {room: code_version(room) for room in ROOMS}

    yield compute
    code_version.cache_clear()


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_remakes_what_depends_on_it_and_no_more(
    package: Path, digests: Callable[[], dict[str, str]], name: str
) -> None:
    before = digests()
    path = package / name
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content + b"\n")
    after = digests()
    path.write_bytes(content)
    assert digests() == before
    assert {room for room in ROOMS if after[room] != before[room]} == CHANGES[name]
