"""Two output trees that differ in one place: the place is found and named."""

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_qsmthal.app.cli import main
from bids_qsmthal.bids import manifest

TABLE, IMAGE = "sub-01/anat/sub-01_measures.tsv", "sub-01/anat/sub-01_Chimap.nii.gz"
SIDECAR, PAGE = "sub-01/anat/sub-01_Chimap.json", "sub-01.html"
DESCRIPTION = "dataset_description.json"


@pytest.fixture
def pair(tmp_path: Path, rng: np.random.Generator) -> tuple[Path, Path]:
    """Two equal trees with a manifest each."""
    root = tmp_path / "a"
    (root / "sub-01" / "anat").mkdir(parents=True)
    (root / "logs").mkdir()
    image = nib.Nifti1Image(rng.standard_normal((4, 5, 6)).astype(np.float32), np.eye(4))
    nib.save(image, root / IMAGE)
    (root / TABLE).write_text("measure\tvalue\nchi\t1.5\nr2\t2\n")
    (root / SIDECAR).write_text(json.dumps({"Units": "ppm", "Method": {"a": [1, 2]}}))
    commands = [f'<pre aria-label="{name}">run A</pre>' for name in ("Run again", "Command")]
    (root / PAGE).write_text("\n".join(["<p>1.5</p>", *commands]))
    (root / DESCRIPTION).write_text('{"Name": "x", "CommandLine": "run \\"A\\""}')
    manifest.write_of(root, "sub-01", root / "sub-01", [root / PAGE])
    return root, Path(shutil.copytree(root, tmp_path / "b"))


def change(place: str, old: str, new: str) -> Callable[[Path], None]:
    def act(root: Path) -> None:
        text = (root / place).read_text()
        assert old in text
        (root / place).write_text(text.replace(old, new))

    return act


def voxel(root: Path) -> None:
    image = nib.load(root / IMAGE)
    data = np.array(np.asanyarray(image.dataobj))
    data[1, 2, 3] += 0.25
    nib.save(nib.Nifti1Image(data, image.affine), root / IMAGE)


def place(root: Path) -> None:
    image = nib.load(root / IMAGE)
    moved = image.affine.copy()
    moved[2, 3] = 0.5
    nib.save(nib.Nifti1Image(np.asanyarray(image.dataobj), moved), root / IMAGE)


def unit(root: Path) -> None:
    image = nib.load(root / IMAGE)
    image.header["descrip"] = b"other"
    nib.save(image, root / IMAGE)


DIFFERENCES = [
    (change(TABLE, "1.5", "1.6"), f"{TABLE}: line 2, column 'value': 1.5 and 1.6"),
    (change(TABLE, "r2\t2\n", ""), f"{TABLE}: 3 and 2 lines"),
    (voxel, f"{IMAGE}: voxel (1, 2, 3): "),
    (voxel, "1 voxels differ, by 0.25 at most"),
    (place, f"{IMAGE}: affine, row 2, column 3: 0 and 0.5"),
    (unit, f"{IMAGE}: header: descrip"),
    (change(SIDECAR, "[1, 2]", "[1, 3]"), f"{SIDECAR}: key /Method/a/1: '2' and '3'"),
    (change(SIDECAR, '"Units"', '"Unit"'), "key /Units is in one only"),
    (change(PAGE, "<p>1.5", "<p>1.4"), f"{PAGE}: line 1, character 6: '5</p>' and '4</p>'"),
    (lambda root: (root / TABLE).unlink(), f"{TABLE}: is not in "),
]


@pytest.mark.parametrize(("act", "said"), DIFFERENCES)
def test_the_first_difference_is_named(
    pair: tuple[Path, Path],
    act: Callable[[Path], None],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    act(pair[1])
    assert main(["verify", *map(str, pair)]) == 1
    out = capsys.readouterr().out
    assert said in out
    assert "1 of 5 files differ" in out


def recompressed(root: Path) -> None:
    content = gzip.decompress((root / IMAGE).read_bytes())
    (root / IMAGE).write_bytes(gzip.compress(content, 1, mtime=7))


@pytest.mark.parametrize(
    "act",
    [
        recompressed,
        change(PAGE, "run A", "run B"),
        change(DESCRIPTION, r"run \"A\"", "other"),
        lambda root: (root / "logs" / "x.log").write_text("another time"),
    ],
)
def test_compression_commands_and_logs_make_no_difference(
    pair: tuple[Path, Path], act: Callable[[Path], None]
) -> None:
    act(pair[1])
    assert main(["verify", *map(str, pair)]) == 0
    assert main(["verify", str(pair[1])]) == 0


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (voxel, f"{IMAGE}: was changed after it was written"),
        (change(TABLE, "1.5", "1.6"), f"{TABLE}: was changed"),
        (lambda root: (root / IMAGE).write_bytes(b"no gzip"), f"{IMAGE}: was changed"),
        (lambda root: (root / TABLE).unlink(), f"{TABLE}: is in the manifest but not in"),
        (
            lambda root: (root / "sub-01" / "x.tsv").write_text("a"),
            "x.tsv: is not listed in any manifest",
        ),
    ],
)
def test_a_tree_is_verified_by_its_own_manifest(
    pair: tuple[Path, Path],
    act: Callable[[Path], None],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["verify", str(pair[0])]) == 0
    act(pair[0])
    assert main(["verify", str(pair[0])]) == 1
    assert said in capsys.readouterr().out


def test_without_a_manifest_nothing_can_be_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert main(["verify", str(tmp_path / "none")]) == 66
    (tmp_path / "logs").mkdir()
    assert main(["verify", str(tmp_path)]) == 66
    assert "no manifest in logs" in caplog.text
    (tmp_path / "logs" / "sub-01_manifest.tsv").write_text("path\tx\n")
    assert main(["verify", str(tmp_path)]) == 65
