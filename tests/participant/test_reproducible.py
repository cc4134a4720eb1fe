"""The same input gives the same bytes, whatever the number of threads."""

from pathlib import Path

import pytest

from bids_qsmthal.app import verify
from bids_qsmthal.app.cli import main
from tests import tiny


@pytest.mark.slow
def test_the_number_of_threads_makes_no_difference(tmp_path: Path) -> None:
    """With the default methods; a participant with T1w is compared where one is processed."""
    tiny.write_dataset(tmp_path, "sub-01")
    for threads in ("1", "2"):
        words = tiny.words(tmp_path, out=f"threads-{threads}")
        usual = [word for word in words if word not in tiny.FAST[:4]]
        more = ["--nprocs", threads, "--omp-nthreads", threads]
        assert main([*usual[: usual.index("--nprocs")], *more]) == 0
    found = verify.of_trees(tmp_path / "threads-1", tmp_path / "threads-2")
    assert found.differences == ()
    assert found.compared > 40
