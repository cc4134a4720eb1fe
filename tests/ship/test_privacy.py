"""Nothing leaves the machine: the network library would report to its makers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

LOAD = """
from bids_qsmthal.anatomy import brain
brain._network("deepbet_box", 1)
"""


@pytest.mark.slow
def test_the_network_library_keeps_no_telemetry(tmp_path: Path) -> None:
    kept = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run(
        [sys.executable, "-c", LOAD],
        env=kept | {"HOME": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "numba")},
        check=True,
    )
    found = [path for path in tmp_path.rglob("*") if "onnx" in path.name.lower()]
    assert found == [], "it keeps an identifier of the device, and events to send"
