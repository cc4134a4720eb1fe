"""A finished output folder of known content, and a server of it."""

import http.client
import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal import view
from bids_qsmthal.core import nifti
from bids_qsmthal.core.image import Image
from bids_qsmthal.view.server import Server

SHAPE = (20, 24, 16)
AFFINE = np.array(
    [[-1.9, 0.3, 0.0, 20.0], [0.3, 1.9, 0.2, -25.0], [0.0, -0.1, 2.0, -15.0], [0, 0, 0, 1.0]]
)
"""The first axis runs to the left, all tilted: a mask in another order would be seen."""


def box(low: tuple[int, int, int], high: tuple[int, int, int]) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return mask


RIGHT, LEFT, CSF = (
    box((4, 8, 6), (8, 12, 10)),
    box((12, 8, 6), (16, 12, 10)),
    box((9, 16, 6), (11, 18, 10)),
)
THALAMUS = (LEFT + 2 * RIGHT).astype(np.uint8)
CHI_PPM = (0.001 * np.arange(SHAPE[2])[None, None, :] * np.ones(SHAPE)).astype(np.float32)
"""It rises by 1 ppb with every slice, from 0."""


def write_scan(root: Path, name: str, number: float) -> None:
    subject = name.split("_", maxsplit=1)[0]
    folder = root / subject / "anat"
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "Chimap": CHI_PPM,
        "R2starmap": 20 + 0 * CHI_PPM,
        "space-MEGRE_desc-thalamus_dseg": THALAMUS,
        "space-MEGRE_label-CSF_desc-reference_mask": CSF.astype(np.uint8),
        "space-MEGRE_label-vein_mask": np.zeros(SHAPE, np.uint8),
    }
    for ending, data in contents.items():
        nifti.save(Image(data, AFFINE), folder / f"{name}_{ending}.nii.gz")
    write_tables(folder, name, number)
    (root / f"{name}.html").write_text("<!doctype html><title>report</title>", "utf-8")


T1W_AFFINE = AFFINE @ np.diag([1, 1, 1, 1.0]) + np.array([[0, 0, 0, 3.0]] + [[0] * 4] * 3)
"""The same voxels, 3 mm further to the right."""
LESIONS = (box((2, 2, 2), (5, 5, 4)) | box((12, 12, 9), (14, 14, 11))).astype(np.uint8)
"""One of 18 voxels and one of 8."""


def write_t1w(root: Path, name: str) -> None:
    """Write T1w, lesions on it, and where the gradient echo lies in it."""
    folder = root / name / "anat"
    bright = (1.0 + np.arange(SHAPE[0])[:, None, None] * np.ones(SHAPE)).astype(np.float32)
    nifti.save(Image(bright, T1W_AFFINE), folder / f"{name}_desc-preproc_T1w.nii.gz")
    nifti.save(Image(LESIONS, T1W_AFFINE), folder / f"{name}_space-T1w_label-lesion_mask.nii.gz")
    for begin, end, shift in (("MEGRE", "T1w", 3), ("T1w", "MEGRE", -3)):
        # Points of the target go to the source; ITK counts x and y the other way.
        numbers = f"1 0 0 0 1 0 0 0 1 {shift} 0 0"
        (folder / f"{name}_from-{begin}_to-{end}_mode-image_xfm.txt").write_text(
            f"Parameters: {numbers}\nFixedParameters: 0 0 0\n", "utf-8"
        )


WHOLE_LESIONS = (
    box((2, 14, 2), (5, 17, 4))
    + 2 * box((5, 14, 2), (7, 17, 4))
    + 5 * box((15, 18, 12), (17, 20, 14))
).astype(np.int32)
"""Numbered lesions on the grid of the gradient echo: 1 and 2 touch, and there is no 3 and 4."""
RIMS = (WHOLE_LESIONS == 2).astype(np.uint8)


def write_rims(root: Path, name: str) -> None:
    """Write the lesions one by one, and those with a rim."""
    begin = root / name / "anat" / f"{name}_space-MEGRE"
    nifti.save(Image(WHOLE_LESIONS, AFFINE), Path(f"{begin}_desc-lesions_dseg.nii.gz"))
    nifti.save(Image(RIMS, AFFINE), Path(f"{begin}_label-rim_mask.nii.gz"))


NUMBERED = (LESIONS * np.where(np.arange(SHAPE[0]) < 8, 1, 2)[:, None, None]).astype(np.int32)
"""The two lesions on the grid of T1w."""
CHANGES = (NUMBERED == 2).astype(np.uint8)
"""The smaller one is new."""


def write_lesion_changes(root: Path, name: str) -> None:
    """Write the lesions on T1w one by one, and which are new since the visit before."""
    begin = root / name / "anat" / f"{name}_space-T1w"
    nifti.save(Image(NUMBERED, T1W_AFFINE), Path(f"{begin}_desc-lesions_dseg.nii.gz"))
    nifti.save(Image(CHANGES, T1W_AFFINE), Path(f"{begin}_desc-lesionchange_dseg.nii.gz"))


FLAIR_AFFINE = T1W_AFFINE + np.array([[0, 0, 0, 2.0]] + [[0] * 4] * 3)
"""Another 2 mm further to the right."""
ECHO_TIMES_S = (0.005, 0.0125)


def write_raw(bids: Path, root: Path, name: str) -> None:
    """Write a FLAIR and two echoes, and what the outputs say of them.

    Voxels of the first echo are 100 more than those of T1w, of the second one 200, of FLAIR 300.
    """
    folder, out = bids / name / "anat", root / name / "anat"
    folder.mkdir(parents=True)
    bright = (1.0 + np.arange(SHAPE[0])[:, None, None] * np.ones(SHAPE)).astype(np.float32)
    raw = {"FLAIR": (bright + 300, FLAIR_AFFINE, {})}
    for number, time_s in enumerate(ECHO_TIMES_S, 1):
        for part, data in (("mag", bright + 100 * number), ("phase", CHI_PPM)):
            raw[f"echo-{number}_part-{part}_MEGRE"] = (data, AFFINE, {"EchoTime": time_s})
    for ending, (data, affine, sidecar) in raw.items():
        nifti.save(Image(data, affine), folder / f"{name}_{ending}.nii.gz")
        (folder / f"{name}_{ending}.json").write_text(json.dumps(sidecar), "utf-8")
    for product, names in (
        ("Chimap", [one for one in raw if one != "FLAIR"]),
        ("space-T1w_label-lesion_mask", ["T1w", "FLAIR"]),
    ):
        uris = [f"bids:raw:{name}/anat/{name}_{one}.nii.gz" for one in names]
        (out / f"{name}_{product}.json").write_text(json.dumps({"Sources": uris}), "utf-8")
    # T1w is among the sources of lesions and lies beside the others.
    nifti.save(Image(bright, T1W_AFFINE), folder / f"{name}_T1w.nii.gz")
    for begin, end, shift in (("FLAIR", "T1w", -2), ("T1w", "FLAIR", 2)):
        numbers = f"1 0 0 0 1 0 0 0 1 {shift} 0 0"
        (out / f"{name}_from-{begin}_to-{end}_mode-image_xfm.txt").write_text(
            f"Parameters: {numbers}\nFixedParameters: 0 0 0\n", "utf-8"
        )


def write_tables(folder: Path, name: str, number: float) -> None:
    ids = (name.split("_", maxsplit=1)[0], "n/a", "n/a")
    rows = [(*ids, "chi_relative_csf", "thalamus", side, number, "ppb") for side in ("L", "LR")]
    columns = [*("participant_id", "session_id", "run_id"), *("measure", "region", "hemisphere")]
    pd.DataFrame(rows, columns=[*columns, "value", "unit"]).to_csv(
        folder / f"{name}_desc-qsmthal_measures.tsv", sep="\t", index=False
    )
    checks = {"name": ["a"], "verdict": ["check"], "reason": ["the signal is low"]}
    pd.DataFrame(checks).to_csv(folder / f"{name}_desc-qsmthal_quality.tsv", sep="\t", index=False)


def as_filed(content: bytes, tmp_path: Path, affine: np.ndarray = AFFINE) -> np.ndarray:
    """Return what the page got, each voxel where that of a file with this affine is.

    The page has axes to R, A and S. Asserted is that no voxel lies between those of the file.
    """
    (tmp_path / "got.nii.gz").write_bytes(content)
    got = nifti.load(tmp_path / "got.nii.gz")
    assert (np.diag(got.affine)[:3] > 0).all()
    points = np.reshape(np.indices(SHAPE), (3, -1))
    step = np.linalg.solve(got.affine, affine)
    at = step[:3, :3] @ points + step[:3, 3:]
    np.testing.assert_allclose(at, np.rint(at), atol=1e-3)
    inside = ((np.rint(at) >= 0) & (np.rint(at) < np.reshape(got.shape, (3, 1)))).all(axis=0)
    assert np.count_nonzero(inside) == got.data.size
    made = np.zeros(SHAPE, got.data.dtype)
    made.reshape(-1)[inside] = got.data[tuple(np.rint(at[:, inside]).astype(int))]
    return made


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("finished") / "out"
    for number in (1, 2, 3):
        write_scan(root, f"sub-0{number}", -30.0 + 10 * (number % 3))
    write_t1w(root, "sub-02")
    write_rims(root, "sub-02")
    write_raw(root.parent / "bids", root, "sub-02")
    (root / "logs").mkdir()
    (root / "logs" / "failures.json").write_text('{"sub-09": "<b>no GRE</b>"}', "utf-8")
    return root


@pytest.fixture
def output_dir(finished: Path, tmp_path: Path) -> Path:
    (tmp_path / "secret.tsv").write_text("secret", "utf-8")
    shutil.copytree(finished.parent / "bids", tmp_path / "bids")
    return Path(shutil.copytree(finished, tmp_path / "out"))


@dataclass(frozen=True)
class Client:
    """Asks the server as a browser would."""

    server: Server

    @property
    def port(self) -> int:
        return self.server.server_address[1]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/{self.server.gate.token}/"

    def ask(self, method: str, target: str, body: bytes | None = None, **headers: str):
        """Return status, headers and body; ``target`` is the whole path."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        own = {} if method == "GET" else {"Origin": f"http://127.0.0.1:{self.port}"}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, target, body, own | named)
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def own(self, method: str, path: str, body: bytes | None = None, **headers: str):
        """Ask with the token."""
        return self.ask(method, f"/{self.server.gate.token}/{path}", body, **headers)

    def read(self, path: str):
        status, _, content = self.own("GET", path)
        assert status == 200, content
        return json.loads(content)


RUN_AGAIN = """
import json, pathlib, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
out, *words = sys.argv[1:]
name = words[words.index("--participant-label") + 1]
print("words", *words, file=sys.stderr, flush=True)
order = pathlib.Path(out, "order.json")
try:
    while not order.exists():
        time.sleep(0.01)
except KeyboardInterrupt:
    print("stopped", file=sys.stderr)
    pathlib.Path(out, "stopped").touch()
    sys.exit(130)
content = json.loads(order.read_text())
table = pathlib.Path(out, name, "anat", f"{name}_desc-qsmthal_measures.tsv")
table.write_text(table.read_text().replace(content["old"], content["new"]))
print("\\x1b[31mlast line", file=sys.stderr)
sys.exit(content["status"])
"""
"""A run that waits for the order of a test, replaces text in the table of measures, and ends."""


@pytest.fixture
def remake() -> view.Command:
    """Run a participant again in no time."""
    return view.Command((sys.executable, "-c", RUN_AGAIN), dict(os.environ))


def served(
    output_dir: Path, remake: view.Command, bids_dir: Path | None = None
) -> Iterator[Client]:
    """Serve a folder until the caller is done."""
    with view.server_of(output_dir, ("127.0.0.1", 0), remake, bids_dir) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield Client(server)
        server.shutdown()
        thread.join()


@pytest.fixture
def client(output_dir: Path, remake: view.Command) -> Iterator[Client]:
    yield from served(output_dir, remake)


@pytest.fixture
def with_raw(output_dir: Path, remake: view.Command) -> Iterator[Client]:
    """The same with the BIDS folder named."""
    yield from served(output_dir, remake, output_dir.parent / "bids")
