"""A signal that waits on disk comes back as it was, and leaves no file behind."""

import gc
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np

from bids_qsmthal.core.image import Image
from bids_qsmthal.participant.gre_signal import SignalOnDisk
from tests.participant.test_pipeline import signal


def test_a_signal_comes_back_from_disk_as_it_was(tmp_path: Path, rng: np.random.Generator) -> None:
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    shape = (5, 4, 3, 2)
    magnitude = Image(rng.normal(size=shape).astype(np.float32), affine)
    phase_rad = Image(np.asfortranarray(rng.normal(size=shape).astype(np.float32)), affine)
    whole = replace(signal(), magnitude=magnitude, phase_rad=phase_rad)

    back = SignalOnDisk(whole, tmp_path / "work").loaded

    assert back.magnitude.data.tobytes() == magnitude.data.tobytes()
    np.testing.assert_array_equal(back.phase_rad.data, phase_rad.data)
    np.testing.assert_array_equal(back.phase_rad.affine, affine)
    np.testing.assert_array_equal(back.combined.data, whole.combined.data)
    assert (back.series, back.report) == (whole.series, whole.report)
    assert list((tmp_path / "work").iterdir()) == []


def test_while_it_waits_nothing_holds_its_arrays(tmp_path: Path) -> None:
    whole = signal()
    array = weakref.ref(whole.magnitude.data)
    waiting = SignalOnDisk(whole, tmp_path)
    del whole
    gc.collect()
    assert array() is None
    assert waiting.loaded.magnitude.data.all()
