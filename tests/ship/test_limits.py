"""Quotas of control groups, version 1 and 2, whole and as seen from inside a container."""

from pathlib import Path

import pytest

from bids_qsmthal.core.errors import OutputError
from bids_qsmthal.execution import caches, limits
from bids_qsmthal.settings import GIB


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


V2 = {"cpu.max": "150000 100000", "memory.max": str(3 * GIB)}
V1 = {
    "cpu/cpu.cfs_quota_us": "100000",
    "cpu/cpu.cfs_period_us": "100000",
    "memory/memory.limit_in_bytes": str(3 * GIB),
}
FREE = {"cpu.max": "max 100000", "memory.max": "max"}


@pytest.fixture(autouse=True)
def a_big_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr("os.sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**23}.__getitem__)


@pytest.mark.parametrize(
    ("membership", "files", "cores", "memory"),
    [
        ("0::/", V2, 1, 3 * GIB),
        ("0::/job/step", {f"job/{name}": text for name, text in V2.items()}, 1, 3 * GIB),
        ("0::/job", {"job/cpu.max": "400000 100000", **FREE}, 4, 32 * GIB),
        ("0::/", FREE, 8, 32 * GIB),
        ("4:cpu,cpuacct:/docker/abc\n9:memory:/docker/abc\n0::/", V1, 1, 3 * GIB),
        ("4:cpu:/\n9:memory:/", V1 | {"cpu/cpu.cfs_quota_us": "-1"}, 8, 3 * GIB),
        ("4:cpu:/\n9:memory:/", V1 | {"cpu/cpu.cfs_quota_us": "50000"}, 1, 3 * GIB),
        (
            "4:cpu:/\n9:memory:/",
            {"memory/memory.limit_in_bytes": "9223372036854771712"},
            8,
            32 * GIB,
        ),
        ("0::/", {}, 8, 32 * GIB),
    ],
)
def test_the_tightest_limit_holds(
    tmp_path: Path, membership: str, files: dict[str, str], cores: int, memory: int
) -> None:
    write(tmp_path / "groups", files)
    write(tmp_path, {"membership": membership})
    where = (tmp_path / "groups", tmp_path / "membership")
    assert limits.cores(*where) == cores
    assert limits.memory_bytes(*where) == memory


def test_without_control_groups_the_machine_is_the_limit(tmp_path: Path) -> None:
    where = (tmp_path / "none", tmp_path / "none either")
    assert (limits.cores(*where), limits.memory_bytes(*where)) == (8, 32 * GIB)


def test_compiled_code_stays_with_a_checkout_that_can_be_written(tmp_path: Path) -> None:
    assert caches.environment(tmp_path / "work") == {}
    assert not (tmp_path / "work").exists()


def test_compiled_code_of_an_installed_package_is_kept_by_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies beside an installed package stays when pip removes it, and hides the next one."""
    monkeypatch.setattr(caches, "IN_CHECKOUT", False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    kept = tmp_path / "cache" / "bids_qsmthal" / "numba"
    assert caches.environment(tmp_path / "work") == {"NUMBA_CACHE_DIR": str(kept)}
    assert kept.is_dir()
    assert not (tmp_path / "work").exists()
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    found = caches.environment(tmp_path / "work")
    assert found["NUMBA_CACHE_DIR"] == str(tmp_path / "work" / "caches" / "numba")


def test_caches_go_to_the_work_folder_and_start_from_what_is_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "ready", {"numba/a.nbi": "compiled", "matplotlib/fonts.json": "{}"})
    monkeypatch.setattr(caches, "READY", tmp_path / "ready")
    for _ in range(2):
        found = caches.environment(tmp_path / "work")
    assert (Path(found["NUMBA_CACHE_DIR"]) / "a.nbi").read_text() == "compiled\n"
    assert (Path(found["MPLCONFIGDIR"]) / "fonts.json").is_file()
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["caches"]
    monkeypatch.setenv("NUMBA_CACHE_DIR", "mine")
    monkeypatch.delenv("MPLCONFIGDIR", raising=False)
    caches.use(tmp_path / "work")
    assert caches.os.environ["NUMBA_CACHE_DIR"] == "mine"
    assert caches.os.environ["MPLCONFIGDIR"] == found["MPLCONFIGDIR"]


def test_caches_of_another_user_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "ready", {"numba/a.nbi": "compiled"})
    monkeypatch.setattr(caches, "READY", tmp_path / "ready")
    caches.environment(tmp_path / "work")
    # As root may write everywhere, the answer of the system is given here.
    theirs = tmp_path / "work" / "caches" / "numba"
    monkeypatch.setattr(caches.os, "access", lambda path, _: Path(path) != theirs)
    with pytest.raises(OutputError, match=r"another user.*; choose a work folder with -w"):
        caches.environment(tmp_path / "work")
