import json
import re
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from bids_qsmthal.app.cli import main
from bids_qsmthal.core.errors import DataError, MissingInputError
from tests.conftest import write_json
from tests.tiny import write_labels, write_participant


@pytest.fixture
def study(bids_dir: Path) -> Path:
    """Three participants: everything, no FLAIR, anatomy alone."""
    for name in ("sub-01", "sub-02"):
        write_participant(bids_dir, name)
    for name, scans in (
        ("sub-01", ("T1w", "ce-gadolinium_T1w", "FLAIR")),
        ("sub-02", ("T1w", "ce-gadolinium_T1w")),
        ("sub-03", ("T1w", "FLAIR")),
    ):
        for scan in scans:
            write_head(bids_dir / name / "anat" / f"{name}_{scan}.nii.gz")
    return bids_dir


def write_head(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.random.default_rng(1).uniform(1, 100, (40, 48, 36)).astype(np.int16)
    nib.save(nib.Nifti1Image(data, np.diag([4.5, 4.5, 4.5, 1])), path)
    write_json(path.with_name(path.name.replace(".nii.gz", ".json")), {"MagneticFieldStrength": 3})


def line_of(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.strip().startswith(start))


def test_a_dataset_is_told_by_participant(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(study), "-q"]) == 0
    text = capsys.readouterr().out
    assert "3 T, mag-phase" in line_of(text, "sub-01")
    assert line_of(text, "sub-01").endswith("ready")
    assert line_of(text, "sub-03").split()[1] == "-"
    assert "3 of 3 ready" in text


@pytest.mark.slow
def test_a_gradient_echo_has_its_row(study: Path, tmp_path: Path) -> None:
    for path in (study / "sub-01" / "anat").glob("*MEGRE.json"):
        content = json.loads(path.read_text())
        write_json(path, content | {"ImagingFrequency": 127.7, "ContrastBolusAgent": "Gadovist"})
    table = tmp_path / "found.tsv"
    assert main(["check", str(study), "-q", "--tsv", str(table)]) == 0
    found = pd.read_csv(table, sep="\t", keep_default_na=False).set_index("participant_id")
    first = found.loc["sub-01"]
    assert (first["gre_field"], first["gre_frequency"]) == ("3 T", "127.7 MHz")
    assert first["gre_echoes"] == "4: 5, 10, 15, 20 ms"
    assert first["gre_polarity"] == "monopolar"
    assert first["gre_orientation"] == "RAS, B0 0 degrees off an axis"
    # The T1w of this dataset is noise up to its border: no top of a head is seen.
    assert first["gre_thalami"] == "unknown"
    assert "Gadovist" in first["doubtful"]
    assert found.loc["sub-02", "gre_frequency"] == "n/a"
    assert found.loc["sub-03", "gre_field"] == "n/a"


@pytest.mark.slow
def test_a_phase_that_a_run_would_refuse_for_its_values_is_found(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (study / "sub-01" / "anat").glob("*part-phase_MEGRE.nii.gz"):
        image = nib.load(path)
        phase = image.get_fdata()
        smooth = ndimage.gaussian_filter(np.exp(1j * phase).real, 4) + 1j * ndimage.gaussian_filter(
            np.exp(1j * phase).imag, 4
        )
        filtered = np.angle(np.exp(1j * phase) * smooth.conj()).astype(np.float32)
        nib.save(nib.Nifti1Image(filtered, image.affine), path)
    assert main(["check", str(study), "-q"]) == 1
    assert "filtered" in capsys.readouterr().out.split("problems:")[1]


def test_what_is_missing_is_told_with_its_cost(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["check", str(study), "-q"])
    text = capsys.readouterr().out
    lesions = "no susceptibility of lesions"
    assert f"no FLAIR: no T2 lesions, {lesions} (external labels would do) (sub-02)" in text
    maps = "no maps of susceptibility and R2*, no susceptibility of the thalamus"
    assert f"no GRE: {maps}, {lesions} (s" in text
    assert "no post-contrast T1w: no enhancing lesions (sub-03)" in text
    assert "no T1w" not in text


@pytest.mark.slow
def test_what_is_brought_spares_the_cost(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manual = tmp_path / "manual"
    write_head(manual / "sub-02" / "anat" / "sub-02_space-T1w_label-lesion_mask.nii.gz")
    main(["check", str(study), "-q", "-d", f"manual={manual}"])
    text = capsys.readouterr().out
    assert "lesion from manual (sub-02)" in text
    assert "no FLAIR" not in text


def no_magnitude(folder: Path) -> None:
    for path in folder.glob("*part-mag*"):
        path.unlink()


def truncated_flair(folder: Path) -> None:
    path = next(folder.glob("*_FLAIR.nii.gz"))
    path.write_bytes(path.read_bytes()[:-1000])


def wrong_units(folder: Path) -> None:
    for path in folder.glob("*part-phase*.json"):
        path.write_text(path.read_text().replace('"rad"', '"mrad"'))


def bad_name(folder: Path) -> None:
    path = next(folder.glob("*_FLAIR.nii.gz"))
    path.rename(path.with_name("sub-01_mod-x_FLAIR.nii.gz"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "code", "says", "state"),
    [
        (no_magnitude, 66, "has only part-phase", "WITHOUT GRE"),
        (truncated_flair, 65, "truncated or damaged", "WITHOUT FLAIR"),
        (wrong_units, 65, "correct Units", "WITHOUT GRE"),
        (bad_name, 16, "not a valid BIDS name", "PROBLEM"),
    ],
)
def test_what_would_stop_a_run_is_found_and_keeps_its_code(
    study: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None],
    code: int,
    says: str,
    state: str,
) -> None:
    spoil(study / "sub-01" / "anat")
    assert main(["check", str(study), "-q"]) == 1
    text = capsys.readouterr().out
    assert line_of(text, "sub-01").endswith(state)
    assert says in text.split("problems:")[1]
    assert "2 of 3 ready" in text
    words = ["check", str(study), "--participant-label", "01", "-q"]
    assert main(words) == code


def test_headers_alone_do_not_show_damaged_voxels(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truncated_flair(study / "sub-01" / "anat")
    assert main(["check", str(study), "-q", "--quick"]) == 0
    assert main(["check", str(study), "-q"]) == 1
    assert "1 of 3" not in capsys.readouterr().out


@pytest.mark.slow
def test_every_name_that_run_and_check_judge_is_judged_alike(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad_name(study / "sub-01" / "anat")
    assert main([str(study), str(tmp_path / "out"), "participant", "-q"]) == 16
    assert main(["check", str(study), "--skip-bids-validation", "-q"]) == 0
    assert "not a valid" not in capsys.readouterr().out


@pytest.mark.slow
def test_the_table_is_written_for_programs(study: Path, tmp_path: Path) -> None:
    no_magnitude(study / "sub-02" / "anat")
    table = tmp_path / "check.tsv"
    assert main(["check", str(study), "-q", "--tsv", str(table)]) == 1
    found = pd.read_csv(table, sep="\t").set_index("participant_id")
    assert list(found.index) == ["sub-01", "sub-02", "sub-03"]
    assert list(found["exit_code"]) == [0, 66, 0]
    assert "has only part-phase" in found.loc["sub-02", "problem"]
    assert "no GRE" in found.loc["sub-03", "missing"]
    assert found.loc["sub-01", "t1w"] == "yes"


@pytest.mark.slow
def test_the_group_level_is_told_of_columns_it_lacks(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = "participant_id\tage\tsex\nsub-01\t30\tF\nsub-02\t40\tM\n"
    (study / "participants.tsv").write_text(table)
    main(["check", str(study), "-q"])
    text = capsys.readouterr().out
    assert "no column disease_duration" in text
    assert "no column age" not in text
    assert "participants.tsv does not list sub-03" in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ids", "says"),
    [
        (("1", "2", "3"), ""),
        (("sub-1", "2.0", "sub-7"), "participants.tsv does not list sub-03"),
        (("p1", "p2", "p3"), "none of whom has results"),
    ],
)
def test_ids_that_a_spreadsheet_cut_are_matched_as_at_group_level(
    study: Path, capsys: pytest.CaptureFixture[str], ids: tuple[str, ...], says: str
) -> None:
    rows = "".join(f"{name}\t40\n" for name in ids)
    (study / "participants.tsv").write_text(f"participant_id\tage\n{rows}")
    assert main(["check", str(study), "-q", "--quick"]) == 0
    text = capsys.readouterr().out
    assert says in text
    assert ("does not list" in text) is ("does not list" in says)


@pytest.mark.slow
def test_nothing_is_written(study: Path) -> None:
    before = sorted(study.rglob("*"))
    main(["check", str(study), "-q"])
    assert sorted(study.rglob("*")) == before


def test_a_folder_that_is_no_dataset_has_its_code(tmp_path: Path) -> None:
    assert main(["check", str(tmp_path)]) == 16
    assert main(["check", str(tmp_path / "nowhere")]) == 66
    assert main(["check"]) == 64


@pytest.mark.slow
def test_a_dry_run_names_stages_and_files_and_writes_nothing(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main([str(study), str(out), "participant", "group", "--dry-run"]) == 0
    text = capsys.readouterr().out
    _, first, second, third = re.split(r"^sub-\d\d:$", text, flags=re.MULTILINE)
    assert "sub-01/anat/sub-01_echo-1_part-phase_MEGRE.nii.gz" in first
    assert "would run: T2 lesions (makes space-T1w_label-lesion_mask, " in first
    assert "T2 lesions: left out, there is no FLAIR" in second
    assert "would run: T2 lesions" not in second
    assert "would run: field, background, susceptibility" in second
    assert "would run: field, background, susceptibility" not in third
    assert not out.exists()


@pytest.mark.slow
def test_a_dry_run_does_not_promise_sources_of_one_echo(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("2", "3", "4"):
        for path in (study / "sub-01" / "anat").glob(f"*echo-{name}_*"):
            path.unlink()
    run = [str(study), str(tmp_path / "out"), "participant", "--dry-run"]
    lack = "one echo: no paramagnetic and diamagnetic sources"
    for asked, told in (([], 0), (["--separation", "r2star"], 1)):
        assert main([*run, *asked]) == 0
        assert capsys.readouterr().out.count(lack) == told


@pytest.mark.slow
def test_what_is_brought_takes_the_place_of_its_stage(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manual = tmp_path / "manual"
    for ending in ("label-lesion_mask", "label-enhancing_mask"):
        write_head(manual / "sub-03" / "anat" / f"sub-03_space-T1w_{ending}.nii.gz")
    words = [str(study), str(tmp_path / "out"), "participant", "--dry-run", "-d", f"m={manual}"]
    main([*words, "--participant-label", "03"])
    text = capsys.readouterr().out
    assert "would run: T1w" in text
    assert "would run: T2 lesions" not in text
    assert "no enhancing lesions" not in text


@pytest.mark.slow
def test_labels_that_are_brought_say_where_the_thalamus_is(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (study / "sub-02" / "anat").glob("*T1w*"):
        path.unlink()
    words = [str(study), str(tmp_path / "out"), "participant", "--dry-run"]
    words += ["--participant-label", "02"]
    main(words)
    assert "would run: thalamus" not in capsys.readouterr().out
    write_labels(tmp_path / "mine", "sub-02")
    main([*words, "-d", f"mine={tmp_path / 'mine'}"])
    assert "would run: thalamus, veins, reference" in capsys.readouterr().out


@pytest.mark.slow
def test_brought_labels_that_miss_the_scan_are_a_problem(study: Path, tmp_path: Path) -> None:
    labels = write_labels(tmp_path / "manual", "sub-01")
    assert main(["check", str(study), "-q", "-d", f"manual={tmp_path / 'manual'}"]) == 0
    for path in labels.rglob("*dseg.nii.gz"):
        image = nib.load(path)
        shifted = image.affine + np.array([[0, 0, 0, 1000.0]] + 3 * [[0] * 4])
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj), shifted), path)
    words = ["check", str(study), "-q", "--participant-label", "01"]
    assert main([*words, "-d", f"manual={tmp_path / 'manual'}"]) == DataError.exit_code


@pytest.mark.slow
def test_labels_of_a_scan_that_cannot_be_used_are_no_second_problem(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for scan in ("T1w", "ce-gadolinium_T1w"):
        (study / "sub-02" / "anat" / f"sub-02_{scan}.nii.gz").unlink()
    # One echo of several is gone, so the gradient echo, the only scan, cannot be used.
    for path in (study / "sub-02" / "anat").glob("*echo-2*"):
        path.unlink()
    write_labels(tmp_path / "mine", "sub-02")
    words = ["check", str(study), "--participant-label", "02", "-d", f"mine={tmp_path / 'mine'}"]
    assert main(words) == MissingInputError.exit_code
    said = "".join(capsys.readouterr())
    assert "an echo is missing" in said
    assert "could belong" not in said
