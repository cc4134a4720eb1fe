"""Random input: it is understood or refused in one line; it neither crashes nor eats memory."""

import gzip
import json
import tracemalloc
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bids_qsmthal.bids import gre_series
from bids_qsmthal.bids.dataset import GreFiles, find_sessions
from bids_qsmthal.bids.sidecars import read_json
from bids_qsmthal.core import nifti
from bids_qsmthal.core.documents import Document
from bids_qsmthal.core.errors import DataError, QsmthalError
from bids_qsmthal.group import analysis_file, covariates, finished, measures, table_reading
from bids_qsmthal.settings import Selection
from tests.conftest import write_image, write_json

pytestmark = pytest.mark.filterwarnings("ignore:.*:SyntaxWarning")
FUZZ = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
MIB = 2**20

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(max_size=8)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)
numbers = st.sampled_from([0.005, 0.01, 0, -1, 5, "5", True]) | scalars


def refused(error: QsmthalError, *codes: int) -> None:
    assert str(error).isprintable()
    assert 0 < len(str(error)) < 2100
    assert error.exit_code in (codes or (64, 65, 66))


@pytest.fixture
def scan(tmp_path: Path) -> GreFiles:
    paths = []
    for echo in (1, 2):
        for part in ("mag", "phase"):
            paths.append(tmp_path / "anat" / f"sub-01_echo-{echo}_part-{part}_MEGRE.nii.gz")
            write_image(paths[-1])
    return GreFiles((), tuple(paths))


@FUZZ
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "EchoTime": numbers | st.lists(numbers, max_size=3),
            "MagneticFieldStrength": numbers,
            "Units": values,
            "Manufacturer": values,
        },
    ),
    st.integers(0, 3),
)
def test_sidecars(scan: GreFiles, content: dict[str, object], which: int) -> None:
    for place, path in enumerate(scan.paths):
        sidecar = {"EchoTime": 0.005 * (1 + place // 2), "MagneticFieldStrength": 3}
        text = json.dumps(content if place == which else sidecar)
        Path(str(path).replace(".nii.gz", ".json")).write_text(text)
    root = scan.paths[0].parent.parent
    try:
        series = gre_series.describe(scan, root)
    except QsmthalError as error:
        refused(error)
    else:
        assert list(series.acquisition.echo_times_s) == sorted(series.acquisition.echo_times_s)
        assert 0 < series.acquisition.field_strength_t < 25


@FUZZ
@given(st.binary(max_size=60) | st.text(alphabet='[]{}":,0eE-.nNaInfinity \\u0', max_size=60))
def test_json_of_any_bytes(tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        assert isinstance(read_json(path), dict)
    except QsmthalError as error:
        refused(error)


HEADER_BYTES = 352


@FUZZ
@given(
    st.lists(st.tuples(st.integers(0, HEADER_BYTES - 1), st.integers(0, 255)), max_size=12),
    st.sampled_from(["x.nii", "x.nii.gz"]),
    st.integers(0, HEADER_BYTES + 200),
)
def test_headers(tmp_path: Path, changes: list[tuple[int, int]], name: str, shorter: int) -> None:
    image = nib.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4))
    content = bytearray(image.to_bytes())
    for place, value in changes:
        content[place] = value
    content = content[: len(content) - shorter] if shorter > HEADER_BYTES else content
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    tracemalloc.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a scale factor may overflow
            found = nifti.load(path)
    except QsmthalError as error:
        refused(error)
    else:
        assert np.isfinite(found.affine).all()
        assert found.data.ndim >= 3
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 20 * MIB


@FUZZ
@given(st.lists(st.integers(-32768, 32767), min_size=8, max_size=8), st.sampled_from([2, 4, 64]))
def test_sizes_are_refused_before_memory_is_asked_for(
    tmp_path: Path, size: list[int], datatype: int
) -> None:
    header = nib.Nifti1Header(check=False)
    header["sizeof_hdr"], header["magic"], header["vox_offset"] = 348, b"n+1", 352
    header["datatype"], header["bitpix"], header["dim"] = datatype, 8 * datatype // 2, size
    path = tmp_path / "x.nii.gz"
    path.write_bytes(gzip.compress(header.binaryblock + bytes(100)))
    tracemalloc.start()
    try:
        nifti.load(path)
    except QsmthalError as error:
        refused(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 5 * MIB


cells = st.text(alphabet="ab01.,-eEn/a\t\n\r\"' \x00\u2028<&", max_size=80)


@pytest.mark.slow
@FUZZ
@given(cells | st.binary(max_size=40))
def test_tables(tmp_path: Path, content: str | bytes) -> None:
    raw = content if isinstance(content, bytes) else b"participant_id\tage\n" + content.encode()
    (tmp_path / "participants.tsv").write_bytes(raw)
    rows = pd.MultiIndex.from_tuples([("sub-a", "n/a")], names=["participant_id", "session_id"])
    age = analysis_file.read(None).variables["age"]
    try:
        sources = covariates.covariate_tables(tmp_path)
        found = covariates.variable_values(age, sources, rows)
        covariates.acquisition_times(tmp_path, sources, rows)
    except QsmthalError as error:
        refused(error)
    else:
        assert found is None or len(found.frame) == 1


MEASURES_HEADER = "\t".join(measures.COLUMNS).encode() + b"\n"


@FUZZ
@given(cells | st.binary(max_size=40), st.sampled_from([b"", MEASURES_HEADER]))
def test_measures(tmp_path: Path, content: str | bytes, begin: bytes) -> None:
    folder = tmp_path / "sub-01" / "anat"
    folder.mkdir(parents=True, exist_ok=True)
    raw = content if isinstance(content, bytes) else content.encode()
    (folder / f"sub-01{finished.MEASURES}").write_bytes(begin + raw)
    try:
        (tmp_path / "bids").mkdir(exist_ok=True)
        tables = finished.finished_tables(tmp_path / "bids", tmp_path, Selection())
        frame = measures.read(tables.measures)
        measures.wide(frame)
    except QsmthalError as error:
        refused(error)


@FUZZ
@given(values | st.dictionaries(st.sampled_from(["Name", "Variables", "Models", "Tables"]), values))
def test_analysis_documents(content: object) -> None:
    try:
        analysis_file.analysed(Document(Path("own.yaml"), content))
    except QsmthalError as error:
        refused(error)


PACKAGED = yaml.safe_load(analysis_file.packaged())


@FUZZ
@given(st.data())
def test_analysis_files_with_one_change(data: st.DataObject) -> None:
    content = json.loads(json.dumps(PACKAGED))
    place = content
    for _ in range(data.draw(st.integers(1, 4))):
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            break
        key = data.draw(st.sampled_from(keys))
        parent, last = place, key
        place = place[key]
        if not isinstance(place, dict | list):
            break
    parent[last] = data.draw(values)
    try:
        analysis_file.analysed(Document(Path("own.yaml"), content))
    except QsmthalError as error:
        refused(error)


@FUZZ
@given(st.text(alphabet='{}[]&*!|>-:#"\n \tab01%@`,?<', max_size=60) | st.binary(max_size=40))
def test_analysis_files_of_any_text(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "own.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        analysis_file.read(path)
    except QsmthalError as error:
        refused(error)


@settings(FUZZ, max_examples=25)
@given(st.text(max_size=12), st.sampled_from(["participants", "sessions", "runs"]))
def test_labels(tmp_path: Path, label: str, what: str) -> None:
    write_json(tmp_path / "dataset_description.json", {"Name": "x", "BIDSVersion": "1.10.0"})
    write_image(tmp_path / "sub-01" / "anat" / "sub-01_T1w.nii.gz")
    try:
        found = find_sessions(tmp_path, Selection(**{what: (label,)}))
    except QsmthalError as error:
        refused(error, 18, 66)
    else:
        assert label.removeprefix("sub-") == "01"
        assert len(found) == 1


def test_a_small_file_of_zeros_costs_no_more_than_its_header_says(tmp_path: Path) -> None:
    header = nib.Nifti1Image(np.zeros((64, 64, 64), np.int16), np.eye(4)).to_bytes()[:352]
    path = tmp_path / "bomb.nii.gz"
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.write(header)
        for _ in range(512):
            stream.write(bytes(MIB))
    tracemalloc.start()
    with pytest.raises(DataError, match="longer than its header says"):
        nifti.load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * MIB


def test_numbers_of_a_table_are_finite() -> None:
    with pytest.raises(QsmthalError, match="is not a number"):
        table_reading.numbers(pd.Series(["1", "inf"]), "here", pd.Series(["a", "b"]))
