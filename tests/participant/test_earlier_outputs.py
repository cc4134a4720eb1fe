"""After a run the tree holds what it made, what other scans made, and the user's own files."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal import participant
from bids_qsmthal.app.cli import main
from bids_qsmthal.bids import manifest
from bids_qsmthal.bids.dataset import GreFiles, Session
from bids_qsmthal.bids.derivatives import Derivatives
from bids_qsmthal.bids.products import OF_VISITS, PRODUCTS
from bids_qsmthal.core.errors import DataError
from bids_qsmthal.core.files import write_text
from bids_qsmthal.core.image import Image
from bids_qsmthal.participant.input_checks import LoadedInputs
from bids_qsmthal.settings import Resources, Settings
from tests import brain_phantom as phantom
from tests import tiny

OF_T1W = ("brain", "tissue", "deepgray", "t1w")
XFM = "mode-image_xfm"


def session_of(root: Path, *scans: str, gre: tuple[tuple[str, str], ...] | None = ()) -> Session:
    """Return a session whose raw files are there."""
    anat = root / "bids" / "sub-01" / "anat"
    anat.mkdir(parents=True, exist_ok=True)
    files = None
    if gre is not None:
        name = "_".join(("sub-01", *(f"{key}-{value}" for key, value in gre)))
        paths = tuple(anat / f"{name}_echo-1_part-{part}_MEGRE.nii.gz" for part in ("mag", "phase"))
        files = GreFiles(gre, paths)
        for path in paths:
            path.touch()
    roles = {"t1w": "T1w", "flair": "FLAIR", "t1w_gad": "ce-gd_T1w"}
    found = {role: anat / f"sub-01_{roles[role]}.nii.gz" for role in scans}
    return Session(root / "bids", "01", gre=files, **found)


def settings_of(root: Path, **more: object) -> Settings:
    return Settings(
        bids_dir=root / "bids",
        output_dir=root / "out",
        work_dir=root / "work",
        resources=Resources(cores=1, threads=1, memory_bytes=2**30),
        **more,
    )


def lesion_iron(session: Session, out: Derivatives) -> list[str]:
    """Write the tables of single lesions, and return the images that go with them."""
    if not (session.gre and session.t1w and session.flair):
        return []
    for ending in (".tsv", ".json"):
        write_text(out.path("desc-qsmthal_lesions", ending), "x")
    return ["lesion_labels", "lesion_labels_gre", "rim"]


def outputs_of(session: Session, out: Derivatives) -> None:
    """Write what a run over these scans writes."""
    products: list[str] = []
    if session.t1w:
        products += [*OF_T1W]
        write_text(out.path(f"from-T1w_to-MNI_{XFM}", ".json", space="T1w"), "x")
    if session.t1w and session.flair:
        products += ["lesion", "lesion_probability", "lesion_flair"]
        write_text(out.path("label-lesion_lesions", ".tsv", space="T1w"), "x")
        write_text(out.path(f"from-FLAIR_to-T1w_{XFM}", ".txt", space="T1w"), "x")
    if session.t1w and session.t1w_gad:
        products += ["enhancing"]
        write_text(out.path("label-enhancing_lesions", ".tsv", space="T1w"), "x")
        write_text(out.path(f"from-T1w_to-ceT1w_{XFM}", ".txt", space="T1w"), "x")
    products += lesion_iron(session, out)
    if session.gre:
        products += ["chi", "r2star", "local_field", "thalamus"]
        write_text(out.path("desc-qsmthal_sensitivity", ".tsv"), "x")
        write_text(out.path("desc-qsmthal_acquisition", ".tsv"), "x")
        if session.t1w:
            write_text(out.path(f"from-T1w_to-MEGRE_{XFM}", ".txt"), "x")
    for key in products:
        image = Image(np.zeros((2, 2, 2), np.uint8), np.eye(4))
        out.save(key, image, sources=[])
    write_text(out.path("desc-qsmthal_measures", ".tsv"), "x")


@pytest.fixture(autouse=True)
def scans_without_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scans of this file are names: what world they are in is not asked."""
    monkeypatch.setattr("bids_qsmthal.core.nifti.world_code", lambda _: 1)


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A run of the participant level whose numbers are made up, and whose files are not."""
    now: list[Session] = []

    def saved(_: object, structural: object, settings: object, out: Derivatives) -> None:
        del structural, settings
        outputs_of(now[-1], out)

    def written(_: object, page: Path, figures: Path) -> list[Path]:
        stem = page.stem
        names = ["desc-brain_mask.svg"] if now[-1].t1w else []
        names += ["desc-chi_Chimap.svg", "viewer.html"] if now[-1].gre else []
        paths = [page, *(figures / f"{stem}_{name}" for name in names)]
        for path in paths:
            write_text(path, "x")
        return paths

    def cited(folder: Path, name: str, _: object) -> None:
        write_text(folder / f"{name}_CITATION.md", "x")
        write_text(folder / f"{name}_CITATION.bib", "x")

    room = "bids_qsmthal.participant"
    nothing = lambda *_, **__: None  # noqa: E731
    read = lambda session, *_: LoadedInputs(session=session)  # noqa: E731
    monkeypatch.setattr(f"{room}.input_checks.read", read)
    for name in ("structural_results", "susceptibility_results"):
        monkeypatch.setattr(f"{room}.{name}", nothing)
    for name in ("quality.checks", "quality.decision", "measures.collect", "saving.save_tables"):
        monkeypatch.setattr(f"{room}.{name}", nothing)
    page = type("Page", (), {"stem": "", "methods_run": None})
    monkeypatch.setattr(f"{room}.page.contents", lambda session, *_, **__: _page(page, session))
    monkeypatch.setattr(f"{room}.page.with_atlases", lambda shown, _: shown)
    monkeypatch.setattr(f"{room}.saving.save_structural", saved)
    monkeypatch.setattr(f"{room}.report.write_participant", written)
    monkeypatch.setattr(f"{room}.citation.write", cited)

    def run(session: Session, settings: Settings) -> None:
        now.append(session)
        participant.process(session, settings)

    return run


def _page(kind: type, session: Session) -> object:
    page = kind()
    page.stem = session.name
    return page


def tree(root: Path) -> set[str]:
    """Every file of the output tree but manifests, locks and a user's edits."""
    return {
        path.relative_to(root / "out").as_posix()
        for path in (root / "out").rglob("*")
        if path.is_file() and not path.name.startswith(".") and "manifest" not in path.name
    }


ALL = ("t1w", "flair", "t1w_gad")


@pytest.mark.parametrize(
    "scans",
    [("t1w", "t1w_gad"), ("flair", "t1w_gad"), ("t1w", "flair"), ()],
    ids=["no FLAIR", "no T1w", "no post-contrast T1w", "GRE alone"],
)
@pytest.mark.parametrize("known", [True, False], ids=["manifest", "no manifest"])
def test_a_scan_that_is_removed_takes_its_outputs_along(
    tmp_path: Path,
    process: Callable[..., None],
    scans: tuple[str, ...],
    known: bool,  # noqa: FBT001
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    settings = settings_of(tmp_path / "once")
    process(session_of(tmp_path / "once", *scans), settings)
    before, settings = tmp_path / "before", settings_of(tmp_path / "before")
    process(session_of(before, *ALL), settings)
    if not known:
        (before / "out" / "logs" / "sub-01_manifest.tsv").unlink()
    caplog.clear()
    process(session_of(before, *scans), settings)
    assert tree(before) == tree(tmp_path / "once")
    assert re.search(r"removed \d+ files of an earlier run", caplog.text)
    listed = {entry.path for entry in manifest.read_of(before / "out", "sub-01")}
    assert listed == {path for path in tree(before) if not path.startswith("logs/")}


def test_a_gradient_echo_that_is_removed_takes_its_outputs_along(
    tmp_path: Path, process: Callable[..., None]
) -> None:
    process(session_of(tmp_path / "once", *ALL, gre=None), settings_of(tmp_path / "once"))
    root, settings = tmp_path / "twice", settings_of(tmp_path / "twice")
    process(session_of(root, *ALL), settings)
    for path in (root / "bids" / "sub-01" / "anat").glob("*MEGRE*"):
        path.unlink()
    process(session_of(root, *ALL, gre=None), settings)
    assert tree(root) == tree(tmp_path / "once")


@pytest.mark.parametrize("known", [True, False], ids=["manifest", "no manifest"])
def test_a_gradient_echo_that_is_renamed_leaves_nothing_of_its_old_name(
    tmp_path: Path,
    process: Callable[..., None],
    known: bool,  # noqa: FBT001
) -> None:
    named = (("acq", "fast"),)
    process(session_of(tmp_path / "once", *ALL, gre=named), settings_of(tmp_path / "once"))
    root, settings = tmp_path / "twice", settings_of(tmp_path / "twice")
    process(session_of(root, *ALL), settings)
    if not known:
        (root / "out" / "logs" / "sub-01_manifest.tsv").unlink()
    for path in (root / "bids" / "sub-01" / "anat").glob("*MEGRE*"):
        path.unlink()
    process(session_of(root, *ALL, gre=named), settings)
    assert tree(root) == tree(tmp_path / "once")
    process(session_of(tmp_path / "back", *ALL), settings_of(tmp_path / "back"))
    for path in (root / "bids" / "sub-01" / "anat").glob("*MEGRE*"):
        path.unlink()
    process(session_of(root, *ALL), settings)
    assert tree(root) == tree(tmp_path / "back")


def test_other_scans_of_the_session_keep_theirs(
    tmp_path: Path, process: Callable[..., None]
) -> None:
    settings = settings_of(tmp_path)
    runs = [(("run", str(number)),) for number in (1, 2)]
    sessions = [session_of(tmp_path, *ALL, gre=run) for run in runs]
    for session in sessions:
        process(session, settings)
    whole = tree(tmp_path)
    assert "sub-01/anat/sub-01_run-2_Chimap.nii.gz" in whole
    process(sessions[0], settings)
    assert tree(tmp_path) == whole
    process(replace(sessions[0], flair=None), settings)
    gone = whole - tree(tmp_path)
    assert gone
    made = ("FLAIR", "lesion", "rim")
    assert all(any(word in path for word in made) for path in gone)
    assert not any("run-2" in path for path in gone)
    listed = {entry.path for entry in manifest.read_of(tmp_path / "out", "sub-01")}
    assert listed == {path for path in tree(tmp_path) if not path.startswith("logs/")}


def test_a_user_s_own_files_are_left(tmp_path: Path, process: Callable[..., None]) -> None:
    settings = settings_of(tmp_path)
    process(session_of(tmp_path, *ALL), settings)
    own = [
        *("sub-01/anat/notes.txt", "sub-01/anat/sub-01_space-T1w_desc-mine_mask.nii.gz"),
        *("sub-01/anat/sub-01_T1w.nii.gz", "sub-01/figures/mine.svg", "sub-01/other/x.tsv"),
        *("edits/sub-01/anat/sub-01_space-FLAIR_label-lesion_mask.nii.gz", "sub-01_notes.txt"),
        *("sub-010.html", "sub-01_ses-a.html", "sub-01/figures/sub-01_mine.svg"),
    ]
    for name in own:
        write_text(tmp_path / "out" / name, "mine")
    process(session_of(tmp_path), settings)
    assert all((tmp_path / "out" / name).exists() for name in own)


@pytest.mark.parametrize(
    "name", ["../mine.txt", "{root}/mine.txt", "edits/sub-01/mine.txt", "sub-01/linked/mine.txt"]
)
def test_a_manifest_from_elsewhere_removes_no_file_of_mine(
    tmp_path: Path, process: Callable[..., None], name: str
) -> None:
    """An output folder may come from a stranger, with a manifest that lists anything."""
    root, settings = tmp_path / "study", settings_of(tmp_path / "study")
    process(session_of(root, *ALL), settings)
    mine = root / "out" / name.format(root=tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (root / "out" / "sub-01" / "linked").symlink_to(tmp_path / "elsewhere")
    write_text(mine, "mine")
    listed = root / "out" / "logs" / "sub-01_manifest.tsv"
    row = (name.format(root=tmp_path), "4", "0", "0", "sub-01", "n/a")
    listed.write_text(listed.read_text() + "\t".join(row) + "\n")
    process(session_of(root), settings)
    assert mine.read_text() == "mine"


def test_a_run_that_fails_is_vouched_for_by_nothing_and_leaves_the_files(
    tmp_path: Path, process: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, session = settings_of(tmp_path), session_of(tmp_path, *ALL)
    process(session, settings)
    whole = tree(tmp_path)

    def fails(*_: object) -> None:
        raise DataError("spoilt")

    monkeypatch.setattr("bids_qsmthal.participant.input_checks.read", fails)
    with pytest.raises(DataError):
        process(session, settings)
    assert tree(tmp_path) == whole
    assert manifest.read_of(tmp_path / "out", "sub-01") == []


def test_pages_alone_leave_images_and_what_vouches_for_them(
    tmp_path: Path, process: Callable[..., None]
) -> None:
    session = session_of(tmp_path, *ALL)
    process(session, settings_of(tmp_path))
    whole, listed = tree(tmp_path), manifest.read_of(tmp_path / "out", "sub-01")
    process(session, settings_of(tmp_path, reports_only=True))
    assert tree(tmp_path) == whole
    assert manifest.read_of(tmp_path / "out", "sub-01") == listed


def test_every_image_of_the_catalogue_is_known_by_its_name(
    tmp_path: Path, process: Callable[..., None]
) -> None:
    settings, session = settings_of(tmp_path), session_of(tmp_path, gre=(("acq", "a"),))
    out = participant.outputs(session, settings)
    # Those of visits are another step's, which removes them itself.
    for product in (one for key, one in PRODUCTS.items() if key not in OF_VISITS):
        for extension in (".nii.gz", ".json", ".tsv"):
            write_text(out.path(product.ending, extension, space=product.space), "old")
    process(session, settings)
    left = [path for path in out.made if path.exists() and path.read_bytes() == b"old"]
    assert left == []


@pytest.mark.slow
def test_the_tree_of_real_runs_is_that_of_the_last_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A corrected sidecar, another option, a renamed scan: each as if nothing had been before."""
    tiny.write_dataset(tmp_path, "sub-01")
    anat = tmp_path / "bids" / "sub-01" / "anat"
    assert main(tiny.words(tmp_path)) == 0

    def same_as_once(*more: str) -> None:
        assert main(tiny.words(tmp_path, *more)) == 0
        assert main(tiny.words(tmp_path, *more, out="once")) == 0
        capsys.readouterr()
        trees = [str(tmp_path / name) for name in ("out", "once")]
        assert main(["verify", *trees]) == 0, capsys.readouterr().out
        assert main(["verify", trees[0]]) == 0

    for path in anat.glob("*.json"):
        path.write_text(path.read_text().replace('"MagneticFieldStrength": 3', _FIELD))
    same_as_once("--csf-reference", "csf")
    for path in (*anat.iterdir(), *(tmp_path / "labels" / "sub-01" / "anat").iterdir()):
        path.rename(path.with_name(path.name.replace("sub-01_", "sub-01_acq-fast_")))
    for path in (tmp_path / "once").glob("sub-01*"):
        path.rename(tmp_path / f"old-{path.name}")
    (tmp_path / "once" / "logs" / "sub-01_manifest.tsv").unlink()
    same_as_once()
    tables = sorted((tmp_path / "out").rglob("*_measures.tsv"))
    assert [path.name for path in tables] == ["sub-01_acq-fast_desc-qsmthal_measures.tsv"]
    assert set(pd.read_csv(tables[0], sep="\t")["run_id"]) == {"acq-fast"}


_FIELD = '"MagneticFieldStrength": 1.5'


@pytest.mark.slow
def test_without_its_flair_a_real_participant_has_no_lesions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bids_qsmthal.anatomy.prepare", phantom.prepare)
    monkeypatch.setattr("bids_qsmthal.anatomy.rigid_brains", phantom.rigid_brains)
    bids = phantom.write_dataset(tmp_path)
    anat = bids / "sub-01" / "anat"
    scans = {"t1w": anat / "sub-01_T1w.nii.gz", "flair": anat / "sub-01_FLAIR.nii.gz"}
    session = Session(bids, "01", **scans)
    participant.process(session, settings_of(tmp_path))
    participant.process(replace(session, flair=None), settings_of(tmp_path))
    once = replace(settings_of(tmp_path), output_dir=tmp_path / "once")
    participant.process(replace(session, flair=None), once)
    assert main(["verify", str(tmp_path / "out"), str(tmp_path / "once")]) == 0
