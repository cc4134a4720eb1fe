"""One step of the reconstruction on plain files gives what is true of a phantom."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_qsmthal.app.cli import main
from bids_qsmthal.qsm import Grid
from tests.qsm import phantoms

VOXEL_MM = 4.0
TIMES = ["0.005", "0.01", "0.015", "0.02"]
B0 = (0.0, 0.28, 0.96)


@pytest.fixture(scope="module")
def head() -> phantoms.Head:
    """Return a head whose main field is oblique to its voxels."""
    return phantoms.head(Grid((40, 44, 38), (VOXEL_MM,) * 3, B0), background=0.3)


@pytest.fixture(scope="module")
def files(head: phantoms.Head, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the images of the head in the scanner's world."""
    folder = tmp_path_factory.mktemp("steps")
    magnitude, phase = head.signal()
    write(folder / "mask.nii.gz", head.mask.astype(np.uint8))
    write(folder / "csf.nii.gz", head.csf.astype(np.uint8))
    write(folder / "magnitude.nii.gz", magnitude)
    for number in range(len(TIMES)):
        write(folder / f"phase{number}.nii.gz", phase[..., number])
        write(folder / f"magnitude{number}.nii.gz", magnitude[..., number])
    return folder


def write(path: Path, data: np.ndarray) -> None:
    """Save an image whose world is turned, so that the main field is its z as in a scanner."""
    x = np.array([1.0, 0, 0])
    z = np.array(B0)
    z /= np.linalg.norm(z)
    # Rows are the axes of the world as seen from the voxels.
    turn = np.array([x, np.cross(z, x), z])
    affine = np.eye(4)
    affine[:3, :3] = VOXEL_MM * turn
    image = nib.Nifti1Image(data.astype(np.float32), affine)
    image.set_sform(affine, code=1)
    nib.save(image, path)


def every(files: Path, what: str) -> list[str]:
    return [str(files / f"{what}{number}.nii.gz") for number in range(len(TIMES))]


def run(files: Path, name: str, *words: str) -> np.ndarray:
    """Run a command; return the map it writes, removing it after."""
    out = files / f"{name}-out.nii.gz"
    assert main([name, *words, "--out", str(out), "-q"]) == 0
    made = np.asarray(nib.load(out).dataobj)
    out.unlink()
    return made


def test_r2star_is_that_of_the_phantom(files: Path, head: phantoms.Head) -> None:
    made = run(files, "r2star", str(files / "magnitude.nii.gz"), "--echo-times", *TIMES)
    sidecar = json.loads((files / "r2star-out.json").read_text())
    (files / "r2star-out.json").unlink()
    for region in (*head.nuclei, head.csf):
        assert made[region].mean() == pytest.approx(head.r2star_hz[region].mean(), abs=0.5)
    assert sidecar["Units"] == "1/s"
    assert sidecar["Inputs"] == {"magnitude": ["magnitude.nii.gz"]}
    assert sidecar["Method"]["Name"] == "weighted exponential fit"


@pytest.mark.slow
def test_the_steps_one_after_the_other_end_in_the_susceptibility_of_the_phantom(
    files: Path, head: phantoms.Head
) -> None:
    strength, mask = ("--field-strength", "3"), ("--mask", str(files / "mask.nii.gz"))
    phases, sizes = every(files, "phase"), every(files, "magnitude")
    field = run(
        *(files, "unwrap", *phases, "--magnitude", *sizes, "--echo-times", *TIMES, *strength, *mask)
    )
    write(files / "field.nii.gz", field)
    local = run(files, "background", str(files / "field.nii.gz"), *strength, *mask)
    write(files / "local.nii.gz", local)
    words = [str(files / "local.nii.gz"), *strength, *mask]
    chi = run(*(files, "invert", *words, "--magnitude", *sizes, "--csf", str(files / "csf.nii.gz")))
    for path in files.glob("*-out.json"):
        path.unlink()
    found = [1000 * float(chi[region].mean()) for region in (*head.nuclei, head.csf)]
    # The phantom's values, less what a regularised inversion takes off small regions.
    assert found == pytest.approx([60, 120, 0], abs=8)


def test_the_direction_of_the_field_can_be_stated(files: Path, head: phantoms.Head) -> None:
    write(files / "turned.nii.gz", head.local_hz)
    plain = {"plain": head.local_hz, "plain-mask": head.mask.astype(np.float32)}
    for name, data in plain.items():
        nib.save(nib.Nifti1Image(data, np.diag([*3 * [VOXEL_MM], 1])), files / f"{name}.nii.gz")
    more = ("--field-strength", "3", "--method", "tv")

    def inverted(name: str, mask: str, *direction: str) -> np.ndarray:
        words = (str(files / name), "--mask", str(files / mask), *more, *direction)
        made = run(files, "invert", *words)
        (files / "invert-out.json").unlink()
        return made

    header = inverted("turned.nii.gz", "mask.nii.gz")
    stated = inverted("plain.nii.gz", "plain-mask.nii.gz", "--b0-direction", *map(str, B0))
    silent = inverted("plain.nii.gz", "plain-mask.nii.gz")
    assert np.corrcoef(header.ravel(), stated.ravel())[0, 1] > 0.999
    assert np.corrcoef(header.ravel(), silent.ravel())[0, 1] < 0.98


MAP, ALL, MASK = "{}/mask.nii.gz", "{}/magnitude.nii.gz", ("--mask", "{}/mask.nii.gz")
AT_3_T = ("--field-strength", "3")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("r2star", ALL, "--echo-times", "0.005"), 65, "4 echoes and 1 echo times"),
        (("r2star", "{}/none.nii.gz", "--echo-times", "0.005"), 66, "no such file"),
        (("r2star", "{}/degrees.nii.gz", "--echo-times", *TIMES), 65, "is this the phase?"),
        (("r2star", "{}/nothing.nii.gz", "--echo-times", *TIMES), 65, "expected a magnitude"),
        (("invert", MAP, *MASK, *AT_3_T), 64, "--magnitude"),
        (("invert", MAP, *MASK, "--field-strength", "3000"), 64, "expected tesla"),
        (("background", ALL, *MASK, *AT_3_T), 65, "expected one volume"),
        (
            ("unwrap", "{}/degrees.nii.gz", "--magnitude", ALL, "--echo-times", *TIMES, *AT_3_T),
            65,
            "expected one turn in rad",
        ),
    ],
)
def test_what_cannot_be_has_one_line(
    files: Path, words: tuple[str, ...], code: int, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    out = files / "never.nii.gz"
    write(files / "degrees.nii.gz", np.linspace(-180, 180, 40 * 44 * 38 * 4).reshape(40, 44, 38, 4))
    write(files / "nothing.nii.gz", np.full((40, 44, 38, 4), np.nan))
    told = [word.format(files) for word in words]
    assert main([*told, "--out", str(out)]) == code
    assert says in caplog.messages[-1]
    assert not out.exists()


def test_nothing_is_overwritten(files: Path, caplog: pytest.LogCaptureFixture) -> None:
    there = files / "mask.nii.gz"
    before = there.read_bytes()
    words = ["r2star", str(files / "magnitude.nii.gz"), "--echo-times", *TIMES]
    assert main([*words, "--out", str(there)]) == 73
    assert "exists already" in caplog.messages[-1]
    assert there.read_bytes() == before
    assert main([*words, "--out", str(files / "map.nii")]) == 64
