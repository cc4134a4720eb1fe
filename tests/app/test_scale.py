"""What indexing and planning cost grows with the study and no faster; a job of an array pays for
its own participant."""

import gc
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.scale import write_study
from bids_qsmthal.bids import dataset, gre_series, sidecars
from bids_qsmthal.bids.dataset import Session, find_sessions
from bids_qsmthal.core import nifti
from bids_qsmthal.settings import Selection

SESSIONS, IMAGES = 2, 11


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    made = {}
    for participants in (10, 40):
        made[participants] = tmp_path_factory.mktemp("study") / "bids"
        assert write_study(made[participants], participants, SESSIONS) == (
            participants * SESSIONS * IMAGES
        )
    return made


def cost(root: Path, selection: Selection, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count what is opened while a study is indexed and its gradient echoes are described."""
    counted: Counter[str] = Counter()
    for kept in (nifti._geometry, nifti._orientation, nifti._kept_header):
        kept.cache_clear()
    sidecars._listed.cache_clear()
    sidecars._content.cache_clear()
    with monkeypatch.context() as patch:
        for module, name in (
            (nifti, "_header"),
            (dataset, "read_json"),
            (sidecars, "read_json"),
        ):
            patch.setattr(module, name, _counting(getattr(module, name), name, counted))
        for session in find_sessions(root, selection):
            _describe(session)
    return counted


def _counting(function, name: str, counted: Counter[str]):
    def count(*args):
        counted[name] += 1
        return function(*args)

    return count


def _describe(session: Session) -> None:
    assert session.gre is not None
    assert len(gre_series.describe(session.gre, session.root).first) == 4


def test_every_header_is_read_once_and_shared_sidecars_are_kept(
    studies: dict[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for participants, root in studies.items():
        counted = cost(root, Selection(), monkeypatch)
        assert counted["_header"] == participants * SESSIONS * 8  # those of the gradient echo
        assert counted["read_json"] == 1 + 8  # the description, and what all echoes inherit


def test_a_job_of_an_array_reads_its_own_participant_only(
    studies: dict[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Selection(participants=("00003",))
    small, large = (cost(root, one, monkeypatch) for root in studies.values())
    assert small == large
    assert small["_header"] == SESSIONS * 8
    layout = dataset._index(studies[40], None, ["00003"])
    assert len(layout.get_files()) == SESSIONS * IMAGES
    layout.connection_manager.session.close()
    layout.connection_manager.engine.dispose()


@pytest.mark.slow
def test_memory_grows_with_the_study_and_no_faster(studies: dict[int, Path]) -> None:
    peaks = {}
    find_sessions(studies[10])  # what is loaded once
    for participants, root in studies.items():
        gc.collect()
        tracemalloc.start()
        found = find_sessions(root)
        peaks[participants] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(found) == participants * SESSIONS
    assert peaks[40] < 5 * peaks[10]
    assert peaks[40] / (40 * SESSIONS * IMAGES) < 40_000  # bytes an image
