"""One table says how all scans were acquired, and who differs."""

from pathlib import Path

from bids_qsmthal.group import acquisitions

USUAL = {
    "imaging frequency": ("123.25", "MHz"),
    "echo times": ("4.92, 9.84, 14.76", "ms"),
    "direction of B0 along the voxel axes": ("0, 0.1, 0.995", ""),
    "inversion": ("medi: regularisation 1200", ""),
}


def written(folder: Path, scan: str, **changed: str) -> Path:
    path = folder / f"{scan}_desc-qsmthal_acquisition.tsv"
    rows = [
        f"{name}\t{changed.get(name.split()[0], value)}\t{unit or 'n/a'}\tsidecar"
        for name, (value, unit) in USUAL.items()
    ]
    path.write_text("\n".join(["parameter\tvalue\tunit\tfrom", *rows, ""]))
    return path


def test_drift_rounding_and_position_are_no_difference(tmp_path: Path) -> None:
    paths = [
        written(tmp_path, "sub-01"),
        written(tmp_path, "sub-02", imaging="123.21", echo="4.9, 9.8, 14.8"),
        written(tmp_path, "sub-03", direction="0.02, 0.05, 0.998"),
    ]
    found = acquisitions.table(paths)
    assert list(found["parameter"]) == list(USUAL)
    assert set(found["n"]) == {3}
    assert acquisitions.differing(found).empty


def test_who_differs_is_named_beside_what_is_usual(tmp_path: Path) -> None:
    paths = [
        written(tmp_path, "sub-01", echo="4.92, 9.84", imaging="63.8"),
        written(tmp_path, "sub-02"),
        written(tmp_path, "sub-03", inversion="tkd: threshold 0.2"),
        written(tmp_path, "sub-04", direction="0, 0.6, 0.8", imaging="n/a"),
    ]
    found = acquisitions.differing(acquisitions.table(paths)).set_index(["parameter", "usual"])
    others = found.xs("no", level="usual").groupby("parameter")["scans"].agg(list).to_dict()
    assert others == {
        "imaging frequency": ["sub-01", "sub-04"],
        "echo times": ["sub-01"],
        "inversion": ["sub-03"],
        "direction of B0 along the voxel axes": ["sub-04"],
    }
    assert found.loc[("echo times", "yes"), "n"] == 3
    assert found.loc[("echo times", "yes"), "value"] == "4.92, 9.84, 14.76"


def test_without_tables_there_is_nothing_to_say() -> None:
    assert acquisitions.table([]).empty
