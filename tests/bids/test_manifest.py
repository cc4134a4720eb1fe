"""Which scan vouches for which file, from its start to its end."""

from pathlib import Path

import pytest

from bids_qsmthal.bids import manifest
from bids_qsmthal.bids.manifest import ManifestEntry
from bids_qsmthal.core.errors import DataError

NAME, FIRST, SECOND = "sub-01", "sub-01_run-1", "sub-01_run-2"


def write(root: Path, *names: str, text: str = "a") -> list[Path]:
    paths = [root / "sub-01" / "anat" / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return paths


def vouched(root: Path) -> dict[str, tuple[str, ...]]:
    return {Path(entry.path).name: entry.scans for entry in manifest.read_of(root, NAME)}


def test_nothing_is_vouched_for_between_start_and_end(tmp_path: Path) -> None:
    assert manifest.begin(tmp_path, NAME, FIRST) == []
    made = write(tmp_path, "one.tsv")
    assert vouched(tmp_path) == {}
    manifest.finish(tmp_path, NAME, FIRST, made)
    assert vouched(tmp_path) == {"one.tsv": (FIRST,)}
    before = manifest.begin(tmp_path, NAME, FIRST)
    assert [Path(entry.path).name for entry in before] == ["one.tsv"]
    assert vouched(tmp_path) == {}
    assert manifest.entries_of(tmp_path, NAME)[0].outdated == (FIRST,)
    assert manifest.begin(tmp_path, NAME, FIRST) == []  # that run has not finished


def test_scans_of_a_session_vouch_for_their_own_and_share_what_is_the_same(tmp_path: Path) -> None:
    shared = write(tmp_path, "t1w.tsv")
    manifest.finish(tmp_path, NAME, FIRST, [*shared, *write(tmp_path, "one.tsv")])
    manifest.begin(tmp_path, NAME, SECOND)
    assert vouched(tmp_path) == {"one.tsv": (FIRST,), "t1w.tsv": (FIRST,)}
    manifest.finish(tmp_path, NAME, SECOND, [*shared, *write(tmp_path, "two.tsv")])
    assert vouched(tmp_path) == {
        "one.tsv": (FIRST,),
        "t1w.tsv": (FIRST, SECOND),
        "two.tsv": (SECOND,),
    }
    manifest.begin(tmp_path, NAME, FIRST)
    assert vouched(tmp_path) == {"t1w.tsv": (SECOND,), "two.tsv": (SECOND,)}
    manifest.finish(tmp_path, NAME, FIRST, write(tmp_path, "t1w.tsv", text="changed"))
    assert vouched(tmp_path) == {"t1w.tsv": (FIRST,), "two.tsv": (SECOND,)}


def test_what_is_gone_or_of_nobody_is_not_listed(tmp_path: Path) -> None:
    gone, old = write(tmp_path, "gone.tsv", "old.tsv")
    manifest.finish(tmp_path, NAME, FIRST, [gone, old])
    gone.unlink()
    manifest.begin(tmp_path, NAME, FIRST)
    manifest.finish(tmp_path, NAME, FIRST, write(tmp_path, "new.tsv"))
    assert [Path(entry.path).name for entry in manifest.entries_of(tmp_path, NAME)] == ["new.tsv"]


def test_entries_that_still_hold_keep_their_checksums(tmp_path: Path) -> None:
    image, page = write(tmp_path, "image.nii", "page.html")
    manifest.finish(tmp_path, NAME, FIRST, [image, page])
    image.write_text("changed by somebody")
    before = manifest.begin(tmp_path, NAME, FIRST)
    kept = [entry for entry in before if entry.path.endswith("image.nii")]
    manifest.finish(tmp_path, NAME, FIRST, [page], kept)
    (entry,) = (entry for entry in manifest.read_of(tmp_path, NAME) if entry in kept)
    assert entry.sha256 != manifest.digest(image)


def test_a_manifest_of_another_form_is_begun_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "logs" / "sub-01_manifest.tsv"
    place.parent.mkdir()
    place.write_text("path\tbytes\tsha256\tcontent_sha256\nsub-01/a\t1\tx\ty\n")
    assert manifest.begin(tmp_path, NAME, FIRST) == []
    assert "A new one is started" in caplog.text
    manifest.finish(tmp_path, NAME, FIRST, write(tmp_path, "one.tsv"))
    assert vouched(tmp_path) == {"one.tsv": (FIRST,)}


@pytest.mark.parametrize("hostile", ["../mine.txt", "{root}/mine.txt", "sub-01/../../mine.txt"])
def test_a_manifest_that_names_files_of_others_is_none(
    tmp_path: Path, hostile: str, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    manifest.finish(out, NAME, FIRST, write(out, "one.tsv"))
    place = out / "logs" / "sub-01_manifest.tsv"
    path = hostile.format(root=tmp_path)
    place.write_text(place.read_text().replace("sub-01/anat/one.tsv", path))
    assert path in place.read_text()
    assert manifest.entries_of(out, NAME) == []
    assert "is not in the output folder" in caplog.text
    with pytest.raises(DataError, match="is not in the output folder"):
        manifest.read_all(out)


OF_OTHERS = (
    "edits/sub-01/anat/sub-01_mine.nii.gz",
    "notes.html",
    "sub-01/anat/mine.tsv",
    "sub-01/anat/sub-010_desc-qsmthal_measures.tsv",
    "sub-01/mine.txt",
    "sub-01/sub-01_mine.tsv",
    "sub-01/ses-2/anat/sub-01_ses-2_desc-qsmthal_measures.tsv",
    "sub-010.html",
    "sub-01_ses-2.html",
    "sub-02/anat/sub-02_desc-qsmthal_measures.tsv",
    "sub-02/anat/sub-01_a.tsv",
)


def listed(out: Path, *names: str) -> list[ManifestEntry]:
    """Write files with contents of their own, and list them as they are."""
    for name in names:
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return [
        ManifestEntry(name, (out / name).stat().st_size, manifest.digest(out / name), "", (FIRST,))
        for name in names
    ]


@pytest.mark.parametrize("name", OF_OTHERS)
def test_a_file_of_others_is_not_its_own_whatever_a_manifest_lists(
    tmp_path: Path, name: str
) -> None:
    own = ("sub-01/anat/sub-01_a.tsv", "sub-01/figures/sub-01_desc-x_T1w.svg", "sub-01.html")
    entries = listed(tmp_path, *own, "sub-01_acq-a.html", name)
    expected = {tmp_path / one for one in (*own, "sub-01_acq-a.html")}
    assert manifest.own_places(tmp_path, "sub-01", entries) == expected


def test_a_file_that_is_not_as_listed_is_somebody_elses(tmp_path: Path) -> None:
    (one,) = listed(tmp_path, "sub-01/anat/sub-01_a.tsv")
    path = tmp_path / one.path
    path.write_text(path.read_text().swapcase())
    assert path.stat().st_size == one.size
    assert manifest.own_places(tmp_path, "sub-01", [one]) == set()
    path.unlink()
    assert manifest.own_places(tmp_path, "sub-01", [one]) == set()


def test_what_lies_behind_a_link_is_not_its_own(tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    listed(elsewhere, "figures/sub-01_a.svg")
    (out / "sub-01").mkdir(parents=True)
    (out / "sub-01" / "figures").symlink_to(elsewhere / "figures")
    entries = listed(out, "sub-01/figures/sub-01_a.svg")
    assert manifest.own_places(out, "sub-01", entries) == set()


def test_an_output_that_is_a_link_itself_is_its_own(tmp_path: Path) -> None:
    """As git-annex keeps outputs: the link goes, what it leads to stays."""
    (one,) = listed(tmp_path, "sub-01/anat/sub-01_a.tsv")
    path = tmp_path / one.path
    path.rename(tmp_path / "key")
    path.symlink_to(tmp_path / "key")
    assert manifest.own_places(tmp_path, "sub-01", [one]) == {path}
