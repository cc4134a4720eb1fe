from pathlib import Path

import pytest

from bids_qsmthal.anatomy import read_subject, read_synthseg
from bids_qsmthal.core.errors import DataError, MissingInputError
from bids_qsmthal.core.sources import Program, ProgramName
from tests import freesurfer_subject

ASEG = """# Title Segmentation Statistics
# cvs_version {version}
# Measure TotalGray, TotalGrayVol, Total gray matter volume, 600000.5, mm^3
# Measure EstimatedTotalIntraCranialVol, eTIV, Estimated Total Intracranial Volume, 1500000, mm^3
  1  10  7000  7000.5  {left}  80 10 27 114 87
  2  49  6500  6500.0  {right}  80 10 27 114 87
"""


def _subject(folder: Path, table: str) -> Path:
    (folder / "stats").mkdir(parents=True)
    (folder / "stats/aseg.stats").write_text(table)
    return folder


def test_the_tables_of_freesurfer_7_are_read_to_the_last_digit(tmp_path):
    measured = read_subject(freesurfer_subject.write_tables(tmp_path / "sub-01"))

    assert measured.program == Program(ProgramName.FREESURFER, "FreeSurfer 7.0.0")
    assert measured.volumes_mm3["thalamus_L"] == 8123.4
    assert measured.volumes_mm3["thalamus_R"] == 7391.6
    assert measured.volumes_mm3["gray_matter"] == 618273.415926
    assert measured.volumes_mm3["intracranial"] == 1437215.182818
    thickness = measured.thickness_mean_mm
    assert (thickness["L"], thickness["R"]) == (2.41423, 2.41736)
    weighted = (2.41423 * 84314.7 + 2.41736 * 85211.2) / (84314.7 + 85211.2)
    assert thickness["whole"] == pytest.approx(weighted, abs=1e-12)


@pytest.mark.parametrize("name", ["Thalamus", "Thalamus-Proper", "Thalamus-Proper*"])
def test_every_version_s_name_of_the_thalamus_is_known(tmp_path, name):
    table = ASEG.format(version="5.1.0", left=f"Left-{name}", right=f"Right-{name}")

    volumes = read_subject(_subject(tmp_path, table)).volumes_mm3

    assert volumes["thalamus_L"] == 7000.5
    assert volumes["thalamus_LR"] == 13500.5


def test_thickness_of_both_hemispheres_is_weighted_by_their_area(tmp_path):
    table = ASEG.format(version="7", left="Left-Thalamus", right="Right-Thalamus")
    folder = _subject(tmp_path, table)
    for side, thickness, area in (("l", 2.0, 100.0), ("r", 3.0, 300.0)):
        (folder / f"stats/{side}h.aparc.stats").write_text(
            f"# Measure Cortex, WhiteSurfArea, White Surface Total Area, {area}, mm^2\n"
            f"# Measure Cortex, MeanThickness, Mean Thickness, {thickness}, mm\n"
        )

    assert read_subject(folder).thickness_mean_mm == {"L": 2.0, "R": 3.0, "whole": 2.75}


def test_thalamic_nuclei_are_read_where_they_are(tmp_path):
    table = ASEG.format(version="7", left="Left-Thalamus", right="Right-Thalamus")
    folder = _subject(tmp_path, table)
    (folder / "mri").mkdir()
    (folder / "mri/ThalamicNuclei.v12.T1.volumes.txt").write_text("Left-LGN 151.25\n")

    assert read_subject(folder).nuclei_mm3 == {"Left-LGN": 151.25}


def test_an_unfinished_subject_is_named(tmp_path):
    with pytest.raises(MissingInputError, match=r"aseg\.stats"):
        read_subject(tmp_path)


def test_a_table_without_thalamus_or_with_words_for_numbers_is_an_error(tmp_path):
    without = ASEG.format(version="7", left="Left-Caudate", right="Right-Caudate")
    words = ASEG.format(version="7", left="Left-Thalamus", right="Right-Thalamus")

    with pytest.raises(DataError, match="thalamus"):
        read_subject(_subject(tmp_path / "a", without))
    with pytest.raises(DataError, match="many"):
        read_subject(_subject(tmp_path / "b", words.replace("7000.5", "many")))


def test_synthseg_rows_are_found_by_the_name_of_the_scan(tmp_path):
    structures = (
        *("cerebral cortex", "cerebellum cortex", "cerebral white matter"),
        *("cerebellum white matter", "thalamus", "caudate", "putamen", "pallidum"),
        *("hippocampus", "amygdala", "accumbens area", "lateral ventricle"),
        "inferior lateral ventricle",
    )
    names = [f"{side} {name}" for side in ("left", "right") for name in structures]
    numbers = [float(10 * index) for index in range(1, len(names) + 1)]
    table = tmp_path / "volumes.csv"
    lines = [",".join(["subject", "total intracranial", *names])]
    scans = ("sub-01_T1w", "sub-02_T1w", "sub-10_T1w", "sub-10_acq-b_T1w")
    lines += [",".join([scan, "1500", *map(str, numbers)]) for scan in scans]
    table.write_text("\n".join(lines))

    volumes = read_synthseg(table, "sub-02").volumes_mm3

    assert volumes["thalamus_L"] == numbers[names.index("left thalamus")]
    assert volumes["thalamus_R"] == numbers[names.index("right thalamus")]
    gray = [n for n in names if "white" not in n and "ventricle" not in n]
    assert volumes["gray_matter"] == sum(numbers[names.index(n)] for n in gray)
    with pytest.raises(DataError, match="2 rows"):
        read_synthseg(table, "sub-10")
    with pytest.raises(DataError, match="0 rows"):  # and not the first of sub-10
        read_synthseg(table, "sub-1")
    table.write_text(f"{lines[0]}\nsub-03_T1w,1500,20")
    with pytest.raises(DataError, match="not a table of SynthSeg volumes"):
        read_synthseg(table, "sub-03")
