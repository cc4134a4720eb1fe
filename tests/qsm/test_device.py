"""The device path is tested on the host through the same seam, in the strictest array namespace."""

from dataclasses import replace

import array_api_strict
import numpy as np
import pytest

from bids_qsmthal.app.cli import main
from bids_qsmthal.core.errors import UnavailableError
from bids_qsmthal.qsm import Reconstruction, device, reconstruct
from bids_qsmthal.qsm.device import HOST, Device
from bids_qsmthal.qsm.medi import SplitBregman
from bids_qsmthal.qsm.operators import convolve, dipole_kernel
from bids_qsmthal.qsm.solvers import conjugate_gradient
from tests.qsm.phantoms import head
from tests.qsm.test_medi import problem


@pytest.fixture
def strict(monkeypatch) -> Device:
    monkeypatch.setitem(device.NAMESPACES, "strict", "array_api_strict")
    return Device("strict")


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def test_convolution_and_conjugate_gradients_keep_the_kind_of_their_arrays(strict, grid, rng):
    values = rng.standard_normal(grid.shape).astype(np.float32)
    kernel = dipole_kernel(grid)
    spectrum = strict.send(kernel)
    found = convolve(strict.send(values), spectrum)
    assert isinstance(found, array_api_strict._array_object.Array)
    assert found.dtype == array_api_strict.float32
    assert relative(strict.fetch(found), convolve(values, kernel)) < 1e-5
    here = conjugate_gradient(lambda x: convolve(x, kernel**2) + 0.1 * x, values, max_iterations=8)
    there = conjugate_gradient(
        lambda x: convolve(x, spectrum**2) + 0.1 * x, strict.send(values), max_iterations=8
    )
    assert relative(strict.fetch(there.x), here.x) < 1e-4


@pytest.mark.parametrize("csf_weight", [0.0, 100.0])
def test_the_compiled_and_the_array_passes_find_the_same_susceptibility(strict, csf_weight) -> None:
    made = problem()[0]._replace(csf_weight=csf_weight)
    compiled = SplitBregman()(made)
    arrays = SplitBregman(device=strict)(made)
    assert arrays.iterations == compiled.iterations
    assert arrays.objective == pytest.approx(compiled.objective, rel=1e-4)
    assert relative(arrays.chi, compiled.chi) < 1e-3


@pytest.mark.slow
def test_the_whole_chain_gives_the_same_map_on_a_device(strict) -> None:
    scan = head()
    signal = scan.signal(snr=100)
    settings = Reconstruction()
    elsewhere = settings.on(strict)
    assert settings.on(HOST) == settings
    maps = [
        reconstruct(*signal, scan.mask, scan.grid, scan.acquisition, settings=chosen).chi_ppm
        for chosen in (settings, elsewhere)
    ]
    assert relative(maps[1], maps[0]) < 1e-3


def test_a_device_that_is_not_there_is_said_in_one_line(monkeypatch) -> None:
    monkeypatch.setitem(device.NAMESPACES, "cuda", "no_such_package")
    with pytest.raises(UnavailableError, match=r"--device cuda.*use --device cpu") as raised:
        Device("cuda").check()
    assert raised.value.exit_code == 69


def test_a_device_that_does_not_answer_is_said_in_one_line(monkeypatch) -> None:
    class Silent:
        @staticmethod
        def asarray(_):
            raise RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected\nmore")

    monkeypatch.setattr(device.importlib, "import_module", lambda _: Silent)
    with pytest.raises(UnavailableError, match="no CUDA-capable device is detected"):
        Device("cuda").check()
    Device("cpu").check()


def test_settings_on_a_device_say_so(strict) -> None:
    chosen = Reconstruction().on(strict)
    assert chosen.inversion.solver.device == strict
    assert chosen.background.first.device == strict
    assert chosen.background.solver.device == strict
    assert replace(chosen) == chosen


def test_the_command_line_refuses_a_device_that_is_not_there(monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setitem(device.NAMESPACES, "cuda", "no_such_package")
    (tmp_path / "bids" / "sub-01").mkdir(parents=True)
    words = [str(tmp_path / "bids"), str(tmp_path / "out"), "participant", "--device", "cuda"]
    assert main(words) == 69
    assert "--device cuda" in capsys.readouterr().err
