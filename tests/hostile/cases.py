"""What can be wrong with an input, one case each: how it is broken and what the app must say.

A case breaks ``sub-01`` of a small dataset that has been processed before. Its message is one line
that names the file, what was found, what is expected, and what to do.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from tests import tiny


@dataclass(frozen=True)
class Case:
    """One way to be wrong.

    Attributes
    ----------
    spoil
        Breaks the dataset; receives the folder that holds ``bids``, ``labels`` and ``out``.
    code
        Exit status of the run.
    says
        What the message must hold.
    words
        Further words of the command line, ``{root}`` replaced.
    """

    name: str
    spoil: Callable[[Path], None]
    code: int
    says: Sequence[str]
    words: Sequence[str] = ()


def anat(root: Path) -> Path:
    return root / "bids" / "sub-01" / "anat"


def echo(root: Path, number: int = 1, part: str = "mag", extension: str = ".nii.gz") -> Path:
    return anat(root) / f"sub-01_echo-{number}_part-{part}_MEGRE{extension}"


def files(pattern: str, act: Callable[[Path], None]) -> Callable[[Path], None]:
    """Do something to every file of ``sub-01`` that matches."""

    def spoil(root: Path) -> None:
        found = sorted(anat(root).glob(pattern))
        assert found, pattern
        for path in found:
            act(path)

    return spoil


def sidecars(pattern: str = "*", **changes: object) -> Callable[[Path], None]:
    """Change keys of sidecars; ``None`` takes a key away."""

    def act(path: Path) -> None:
        content = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))

    return files(f"{pattern}.json", act)


def raw_sidecar(content: bytes) -> Callable[[Path], None]:
    return lambda root: void(echo(root, extension=".json").write_bytes(content))


def values(image: nib.Nifti1Image) -> np.ndarray:
    return np.asanyarray(image.dataobj).copy()


def voxels(
    change: Callable[[np.ndarray], np.ndarray], number: int = 1, part: str = "mag"
) -> Callable[[Path], None]:
    """Change the voxels of one image."""

    def spoil(root: Path) -> None:
        path = echo(root, number, part)
        image = nib.load(path)
        nib.save(nib.Nifti1Image(change(values(image)), image.affine), path)

    return spoil


def placed(change: Callable[[np.ndarray], np.ndarray], *, every: bool = False):
    """Change the affine of one image, or of all."""

    def spoil(root: Path) -> None:
        paths = sorted(anat(root).glob("*.nii.gz")) if every else [echo(root, 2)]
        for path in paths:
            image = nib.load(path)
            moved = nib.Nifti1Image(values(image), None, image.header)
            moved.header.set_sform(change(image.affine), code=1)
            moved.header["qform_code"] = 0
            nib.save(moved, path)

    return spoil


def header(number: int = 1, *, tail: bytes = bytes(8), **fields: object) -> Callable[[Path], None]:
    """Replace an image by a header with these fields and hardly any voxel."""

    def spoil(root: Path) -> None:
        made = nib.Nifti1Header(check=False)
        made["magic"], made["sizeof_hdr"], made["vox_offset"] = b"n+1", 348, 352
        made["datatype"], made["bitpix"] = 4, 16
        for key, value in fields.items():
            made[key] = value
        echo(root, number).write_bytes(gzip.compress(made.binaryblock + bytes(4) + tail))

    return spoil


def bomb(root: Path) -> None:
    """A small file that would decompress to far more than its header promises."""
    path = echo(root)
    begin = gzip.decompress(path.read_bytes())[:352]
    path.write_bytes(gzip.compress(begin + bytes(2**27), 1))


def flipped(root: Path) -> None:
    """One wrong byte that decompression itself does not notice: stored, not deflated."""
    path = echo(root)
    content = bytearray(gzip.compress(gzip.decompress(path.read_bytes()), 0))
    content[len(content) // 2] ^= 0x40
    path.write_bytes(bytes(content))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def uncompressed_cut(root: Path) -> None:
    path = echo(root)
    content = gzip.decompress(path.read_bytes())
    path.unlink()
    path.with_suffix("").write_bytes(content[:-1000])


def instead(make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Put something else in the place of an image."""

    def spoil(root: Path) -> None:
        path = echo(root)
        path.unlink()
        make(path)

    return spoil


def link_to_nothing(path: Path) -> None:
    path.symlink_to("../../.git/annex/objects/nothing")


def scan(suffix: str, data: np.ndarray, voxel_mm: float = 4.5) -> Callable[[Path], None]:
    """Add a structural scan."""

    def spoil(root: Path) -> None:
        affine = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
        nib.save(nib.Nifti1Image(data, affine), anat(root) / f"sub-01_{suffix}.nii.gz")

    return spoil


def then(*steps: Callable[[Path], None]) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        for step in steps:
            step(root)

    return spoil


def brought(ending: str, change: Callable[[np.ndarray], np.ndarray], shift_mm: float = 0):
    """Change a brought image, or move it in the world."""

    def spoil(root: Path) -> None:
        path = root / "labels" / "sub-01" / "anat" / f"sub-01_space-MEGRE_desc-{ending}.nii.gz"
        image = nib.load(path)
        affine = image.affine.copy()
        affine[0, 3] += shift_mm
        nib.save(nib.Nifti1Image(change(values(image)), affine), path)

    return spoil


def rename(old: str, new: str) -> Callable[[Path], None]:
    return files(old, lambda path: void(path.rename(path.with_name(new))))


def void(_: object) -> None:
    """Take what a call gives back; a spoiler gives nothing."""


def nothing(_: Path) -> None:
    """Leave the files; the words are wrong."""


def write(place: str, content: str) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    return spoil


def double(source: int, name: str) -> Callable[[Path], None]:
    """Copy one echo of both parts under another name."""

    def spoil(root: Path) -> None:
        for part in ("mag", "phase"):
            for extension in (".nii.gz", ".json"):
                place = anat(root) / f"sub-01_{name}_part-{part}_MEGRE{extension}"
                shutil.copy(echo(root, source, part, extension), place)

    return spoil


def lead_out(root: Path) -> None:
    """The participant's folder of the output is a link to somewhere else."""
    (root / "elsewhere").mkdir()
    shutil.rmtree(root / "out" / "sub-01")
    (root / "out" / "sub-01").symlink_to(root / "elsewhere")


SHAPE = tiny.SHAPE
HEAD = np.random.default_rng(0).uniform(1, 2, SHAPE).astype(np.float32)
UNIFORM = np.random.default_rng(0).uniform(-3, 3, SHAPE).astype(np.float32)
DEEP = b"[" * 100_000 + b"]" * 100_000

GRADIENT_ECHO = [
    Case(
        "no image at all",
        files("*.nii.gz", Path.unlink),
        66,
        ["no gradient echo", "expected names"],
    ),
    Case("no magnitude", files("*part-mag*", Path.unlink), 66, ["has only part-phase", "Export"]),
    Case(
        "an echo without its phase",
        files("*echo-2_part-phase*", Path.unlink),
        66,
        ["part-phase has the echoes 1, 3, 4", "an echo is missing"],
    ),
    Case(
        "an echo is missing",
        files("*echo-2*", Path.unlink),
        66,
        ["has the echoes 1, 3, 4", "expected 1 to 4", "an echo is missing; add it"],
    ),
    Case("the first echo is missing", files("*echo-1*", Path.unlink), 66, ["echoes 2, 3, 4"]),
    Case("an echo is there twice", double(2, "echo-02"), 65, ["same EchoTime", "echo-02"]),
    Case("an echo under another number", double(2, "echo-5"), 65, ["same EchoTime", "remove"]),
    Case(
        "an echo compressed and not",
        lambda root: void(
            echo(root, extension=".nii").write_bytes(gzip.decompress(echo(root).read_bytes()))
        ),
        65,
        ["same EchoTime"],
    ),
]

TIMING = [
    Case("no echo time", sidecars("*echo-2*", EchoTime=None), 66, ["EchoTime", "expected seconds"]),
    Case("no sidecar", files("*.json", Path.unlink), 66, ["EchoTime", "add EchoTime"]),
    Case("echo time as words", sidecars("*echo-2*", EchoTime="10 ms"), 66, ["'10 ms'", "seconds"]),
    Case(
        "a decimal comma", sidecars("*echo-2*", EchoTime="0,01"), 66, ["'0,01'", "correct EchoTime"]
    ),
    Case("echo time a truth value", sidecars("*echo-2*", EchoTime=True), 66, ["True", "seconds"]),
    Case(
        "echo times in ms",
        then(*(sidecars(f"*echo-{n}*", EchoTime=5.0 * n) for n in range(1, 5))),
        65,
        ["_MEGRE.nii.gz", "20", "BIDS wants seconds", "did you mean 0.02"],
    ),
    Case("echo time zero", sidecars("*echo-1*", EchoTime=0), 65, ["must be positive", "Correct"]),
    Case("echo time negative", sidecars("*echo-1*", EchoTime=-0.005), 65, ["must be positive"]),
    Case("echo time not a number", raw_sidecar(b'{"EchoTime": NaN}'), 66, ["nan", "seconds"]),
    Case("echo time endless", raw_sidecar(b'{"EchoTime": 1e999}'), 66, ["inf", "seconds"]),
    Case(
        "echo time of 4000 digits",
        raw_sidecar(b'{"EchoTime": ' + b"9" * 4000 + b"}"),
        66,
        ["seconds"],
    ),
    Case("echo times do not ascend", sidecars("*echo-1*", EchoTime=0.03), 65, ["do not ascend"]),
    Case("equal echo times", sidecars("*echo-2*", EchoTime=0.005), 65, ["same EchoTime"]),
    Case(
        "magnitude and phase disagree",
        sidecars("*echo-2_part-phase*", EchoTime=0.011),
        66,
        ["part-mag has echo times", "part-phase"],
    ),
    Case(
        "a list of times for one volume",
        sidecars("*echo-4*", EchoTime=[0.02, 0.025]),
        65,
        ["lists 2 times", "1 volumes", "one for each"],
    ),
    Case(
        "an empty list of times",
        sidecars("*echo-1*", EchoTime=[]),
        65,
        ["lists 0 times", "correct"],
    ),
    Case("a list in a list", sidecars("*echo-1*", EchoTime=[[0.005]]), 66, ["[0.005]", "seconds"]),
    Case(
        "two volumes and one time",
        voxels(lambda data: np.stack([data, data], -1)),
        66,
        ["2 volumes but EchoTime is", "expected a list"],
    ),
]

SIDECARS = [
    Case(
        "sidecar not JSON", raw_sidecar(b'{"EchoTime": '), 65, ["echo-1", "not readable", "correct"]
    ),
    Case("sidecar a list", raw_sidecar(b"[1]"), 65, ["holds a list", "JSON object", "correct"]),
    Case("sidecar binary", raw_sidecar(bytes(range(256))), 65, ["not readable as JSON"]),
    Case(
        "sidecar in UTF-16 that is cut",
        raw_sidecar('{"a": 1}'.encode("utf-16")[:-1]),
        65,
        ["not readable"],
    ),
    Case("sidecar nested deeply", raw_sidecar(b'{"a": ' + DEEP + b"}"), 65, ["not readable"]),
    Case("sidecar with a word of 5000 digits", raw_sidecar(b"9" * 5000), 65, ["not readable"]),
    Case(
        "sidecar a folder",
        lambda root: (
            echo(root, extension=".json").unlink(),
            void(echo(root, extension=".json").mkdir()),
        )[1],
        65,
        ["echo-1", "a folder, a pipe or a device", "expected a file"],
    ),
    Case("no field strength", sidecars(MagneticFieldStrength=None), 66, ["is None", "tesla"]),
    Case("field strength as text", sidecars(MagneticFieldStrength="3T"), 66, ["'3T'", "tesla"]),
    Case("field strength zero", sidecars(MagneticFieldStrength=0), 65, ["0 T", "Correct"]),
    Case("field strength in gauss", sidecars(MagneticFieldStrength=30000), 65, ["30000 T"]),
    Case(
        "two field strengths",
        sidecars("*echo-1*", MagneticFieldStrength=7),
        65,
        ["MagneticFieldStrength differs", "expected one value"],
    ),
    Case("manufacturer a number", sidecars(Manufacturer=7), 65, ["Manufacturer", "a text"]),
]


def both(*spoil: Callable[[Path], None]) -> Callable[[Path], None]:
    """Spoil a dataset in several ways at once."""

    def spoiled(root: Path) -> None:
        for one in spoil:
            one(root)

    return spoiled


def part_of_a_turn(**metadata: object) -> Callable[[Path], None]:
    """Make a phase that spans no whole turn of any scale, beside sidecars that say this of it."""
    return both(voxels(lambda data: data * 37.3, part="phase"), sidecars(**metadata))


PHASE = [
    Case("phase of unknown scale", part_of_a_turn(Units=None), 65, ["scale", "--phase-units"]),
    Case("arbitrary units of nobody", part_of_a_turn(Units="arbitrary"), 65, ["scale", "--phase"]),
    Case("units unknown", sidecars("*phase*", Units="furlong"), 65, ["'furlong'", "'rad'"]),
    Case("units a list", sidecars("*phase*", Units=["rad"]), 65, ["Units", "a text"]),
    Case(
        "units contradict the data",
        voxels(lambda data: data * 652, part="phase"),
        65,
        ["spans", "--phase-units"],
    ),
    Case(
        "a part of a turn said to be Siemens",
        part_of_a_turn(Units="arbitrary", Manufacturer="Siemens"),
        65,
        ["spans", "--phase-units"],
    ),
    Case(
        "Philips phase whose slope is lost",
        part_of_a_turn(Units="arbitrary", Manufacturer="Philips"),
        65,
        ["scale", "--phase-units"],
    ),
]

VOXELS = [
    Case("all zero", voxels(np.zeros_like), 65, ["every voxel is 0", "export"]),
    Case("constant", voxels(lambda data: np.full_like(data, 7)), 65, ["every voxel is 7"]),
    Case("not numbers", voxels(lambda data: data * np.float32(np.nan)), 65, ["no voxel holds"]),
    Case("endless", voxels(lambda data: data + np.float32(np.inf)), 65, ["no voxel holds"]),
    Case("phase zero", voxels(np.zeros_like, 2, "phase"), 65, ["echo-2_part-phase", "is 0"]),
    Case("complex", voxels(lambda data: data + 1j), 65, ["complex", "one real number"]),
    Case(
        "colours",
        voxels(lambda data: np.zeros(data.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])),
        65,
        ["one real number"],
    ),
    Case("another shape", voxels(lambda data: data[:-1], 3), 65, ["differs from", "one grid"]),
    Case("one slice", voxels(lambda data: data[..., :1]), 65, ["shape"]),
    Case("a plane", voxels(lambda data: data[..., 0]), 65, ["not that of a 3-D image"]),
    Case(
        "another place",
        placed(lambda affine: affine + np.eye(4, k=3)),
        65,
        ["affine differs", "must share one grid"],
    ),
    Case("a flat affine", placed(lambda affine: affine * [1, 1, 0, 1]), 65, ["cannot be inverted"]),
    Case("an affine of NaN", placed(lambda affine: affine * np.nan), 65, ["cannot be inverted"]),
    Case(
        "voxels of a mouse",
        placed(lambda affine: affine @ np.diag([0.02, 0.02, 0.02, 1]), every=True),
        65,
        ["expected a volume of a head", "check the header"],
    ),
    Case(
        "voxels in micrometres",
        placed(lambda affine: affine @ np.diag([1000, 1000, 1000, 1]), every=True),
        65,
        ["expected a volume of a head"],
    ),
]

FILES = [
    Case("cut short", files("*echo-1_part-mag*.nii.gz", cut), 65, ["truncated or damaged", "copy"]),
    Case("cut short, not compressed", uncompressed_cut, 65, ["truncated", "header promises"]),
    Case("empty", instead(Path.touch), 65, ["an empty file (0 bytes)"]),
    Case("text", instead(lambda path: path.write_text("NIfTI")), 65, ["not a readable NIfTI"]),
    Case(
        "compressed text",
        instead(lambda path: path.write_bytes(gzip.compress(b"text" * 1000))),
        65,
        ["does not begin with a header"],
    ),
    Case("one wrong byte", flipped, 65, ["truncated or damaged", "CRC"]),
    Case(
        "a header of absurd size",
        header(dim=[3, 32767, 32767, 32767, 1, 1, 1, 1]),
        65,
        ["(32767, 32767, 32767)", "not that of"],
    ),
    Case(
        "far too many volumes",
        header(dim=[4, 512, 512, 256, 32000, 1, 1, 1]),
        65,
        ["too many volumes"],
    ),
    Case(
        "a header that promises more than can be",
        header(dim=[3, 512, 512, 512, 1, 1, 1, 1]),
        65,
        ["truncated or damaged", "promises"],
    ),
    Case("negative size", header(dim=[3, -5, 10, 10, 1, 1, 1, 1]), 65, ["echo-1"]),
    Case("no axes", header(dim=[0, 0, 0, 0, 0, 0, 0, 0]), 65, ["echo-1"]),
    Case("more axes than there are", header(dim=[99, 5, 5, 5, 5, 5, 5, 5]), 65, ["not a readable"]),
    Case("unknown type", header(datatype=12345), 65, ["not a readable"]),
    Case("voxels begin at the moon", header(vox_offset=1e15), 65, ["says that voxels begin at"]),
    Case("voxels begin nowhere", header(vox_offset=np.nan), 65, ["says that voxels begin at"]),
    Case("a link to nothing", instead(link_to_nothing), 66, ["link to nothing", "fetch"]),
    Case("a folder", instead(Path.mkdir), 66, ["part-mag has the echoes 2, 3, 4", "add it"]),
    Case("a pipe that never ends", instead(os.mkfifo), 65, ["not a regular file"]),
    Case("an endless device", instead(lambda p: p.symlink_to("/dev/zero")), 65, ["not a regular"]),
]

STRUCTURAL = [
    Case("T1w of one slice", scan("T1w", HEAD[..., :1]), 65, ["sub-01_T1w", "volume of a head"]),
    Case("T1w a plane", scan("T1w", HEAD[..., 0]), 65, ["not that of a 3-D"]),
    Case("T1w constant", scan("T1w", HEAD * 0 + 3), 65, ["T1w", "every voxel is 3"]),
    Case("T1w without numbers", scan("T1w", HEAD * np.nan), 65, ["no voxel holds a number"]),
    Case("T1w of two volumes", scan("T1w", np.stack([HEAD] * 2, -1)), 65, ["one volume"]),
    Case("T1w of a mouse", scan("T1w", HEAD, 0.1), 65, ["expected a volume of a head"]),
    Case("FLAIR zero", scan("FLAIR", HEAD * 0), 65, ["FLAIR", "every voxel is 0"]),
    Case(
        "FLAIR cut short",
        then(scan("FLAIR", HEAD), files("*FLAIR.nii.gz", cut)),
        65,
        ["FLAIR", "truncated"],
    ),
    Case(
        "post-contrast constant",
        scan("ce-gd_T1w", HEAD * 0),
        65,
        ["ce-gd_T1w", "every voxel is 0"],
    ),
]

BROUGHT = [
    Case("an empty mask", brought("brain_mask", np.zeros_like), 65, ["no label lies within"]),
    Case(
        "labels elsewhere",
        brought("deepgray_dseg", np.copy, 1e4),
        65,
        ["the world coordinates of the scan"],
    ),
    Case(
        "a probability for a mask",
        brought("brain_mask", lambda data: data * np.float32(0.7)),
        65,
        ["whole numbers", "must be thresholded"],
    ),
    Case("negative labels", brought("deepgray_dseg", np.negative), 65, ["whole numbers from 0"]),
    Case("labels that are no numbers", brought("brain_mask", lambda d: d * np.nan), 65, ["values"]),
    Case(
        "labels cut short",
        lambda root: cut(root / "labels/sub-01/anat/sub-01_space-MEGRE_desc-deepgray_dseg.nii.gz"),
        65,
        ["desc-deepgray_dseg", "truncated"],
    ),
    Case(
        "an edit that is no image",
        write("out/edits/sub-01/anat/sub-01_space-MEGRE_desc-brain_mask.nii.gz", "mask"),
        65,
        ["edits", "not a readable NIfTI"],
    ),
    Case(
        "two that claim to be the same",
        lambda root: void(
            shutil.copytree(root / "labels/sub-01/anat", root / "labels/sub-01/more")
        ),
        65,
        ["both claim", "keep one"],
    ),
]

NAMES = [
    Case(
        "a tag in a file name",
        rename("*echo-1_part-mag*.nii.gz", "sub-01_acq-<b>_echo-1_part-mag_MEGRE.nii.gz"),
        16,
        ["acq-<b>", "letters and digits", "rename"],
    ),
    Case(
        "a command in a file name",
        rename("*echo-1_part-mag*.nii.gz", "sub-01_acq-$(id)_echo-1_part-mag_MEGRE.nii.gz"),
        16,
        ["acq-$(id)", "rename"],
    ),
    Case(
        "a file of another participant",
        rename("*echo-1_part-mag*.nii.gz", "sub-02_echo-1_part-mag_MEGRE.nii.gz"),
        16,
        ["sub-02", "expected sub-01", "rename or move"],
    ),
    Case(
        "entities in the wrong order",
        scan("run-1_acq-fast_T1w", HEAD),
        16,
        ["not a valid BIDS name", "rename"],
    ),
]


def dataset(name: str, content: str | None) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        path = root / "bids" / name
        path.unlink()
        if content is not None:
            path.write_text(content)

    return spoil


DESCRIPTION = "dataset_description.json"
WHOLE = [
    Case("no description", dataset(DESCRIPTION, None), 16, ["no dataset_description", "root"]),
    Case("description malformed", dataset(DESCRIPTION, "{"), 65, [DESCRIPTION, "correct"]),
    Case("description without name", dataset(DESCRIPTION, '{"BIDSVersion": "1"}'), 16, ["Name"]),
    Case("no dataset", lambda root: shutil.rmtree(root / "bids"), 66, ["no such folder"]),
    Case(
        "a file for a dataset",
        then(lambda root: shutil.rmtree(root / "bids"), write("bids", "")),
        66,
        ["no such folder"],
    ),
    Case(
        "unknown participant", nothing, 66, ["99", "holds: 01, 02"], ["--participant-label", "99"]
    ),
    Case(
        "a path for a participant",
        nothing,
        66,
        ["'../01'", "letters and digits"],
        ["--participant-label", "../01"],
    ),
    Case("unknown session", nothing, 66, ["No session b"], ["--session-label", "b"]),
    Case("unknown run", nothing, 66, ["No run 7", "no run labels"], ["--run-label", "7"]),
    Case(
        "a filter file that is missing",
        nothing,
        66,
        ["no such filter file"],
        ["--bids-filter-file", "{root}/none.json"],
    ),
    Case(
        "a filter file that is malformed",
        write("filter.json", "{]"),
        65,
        ["filter.json", "not readable", "correct"],
        ["--bids-filter-file", "{root}/filter.json"],
    ),
    Case(
        "a filter for an unknown role",
        write("filter.json", '{"bold": {}}'),
        65,
        ["bold", "expected gre"],
        ["--bids-filter-file", "{root}/filter.json"],
    ),
    Case(
        "a filter that matches nothing",
        write("filter.json", '{"gre": {"run": 9}}'),
        18,
        ["leave no gradient echo"],
        ["--bids-filter-file", "{root}/filter.json"],
    ),
    Case(
        "a filter with an unknown entity",
        write("filter.json", '{"gre": {"color": "red"}}'),
        65,
        ["color"],
        ["--bids-filter-file", "{root}/filter.json"],
    ),
    Case(
        "brought from nowhere",
        nothing,
        66,
        ["is not a folder"],
        ["--derivatives", "mine={root}/none"],
    ),
    Case("an output that leads out", lead_out, 73, ["leads out of", "remove the link"]),
    Case(
        "a tagged configuration",
        write("c.yaml", "seed: !!python/object/apply:os.system ['touch {root}/pwned']"),
        65,
        ["not readable as YAML"],
        ["--config", "{root}/c.yaml"],
    ),
    Case(
        "a billion laughs",
        write(
            "c.yaml",
            "a: &a [x, x, x, x, x, x, x, x, x]\n"
            + "".join(
                f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
                for old, new in zip("abcdefgh", "bcdefghi", strict=True)
            ),
        ),
        64,
        ["unknown setting"],
        ["--config", "{root}/c.yaml"],
    ),
    Case(
        "a configuration nested deeply",
        write("c.yaml", "[" * 20_000),
        65,
        ["c.yaml", "not readable"],
        ["--config", "{root}/c.yaml"],
    ),
    Case(
        "a configuration of the wrong kind",
        write("c.yaml", "seed: many"),
        64,
        ["c.yaml, line 1", "seed", "a whole number"],
        ["--config", "{root}/c.yaml"],
    ),
]

PARTICIPANT = [
    *GRADIENT_ECHO,
    *TIMING,
    *SIDECARS,
    *PHASE,
    *VOXELS,
    *FILES,
    *BROUGHT,
    *NAMES,
    Case("a gzip bomb", bomb, 65, ["echo-1", "longer than its header says"]),
]
