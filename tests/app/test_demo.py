import json
import shlex
from pathlib import Path

import pytest

from bids_qsmthal import simulate
from bids_qsmthal.app import demo, options, simulation
from bids_qsmthal.core.files import write_json, write_text

TRUE = {
    "chi_relative_csf": {"L": -17.0, "R": -19.0, "LR": -18.0},
    "volume_mm3": {"thalamus_LR": 13000.0, "gray_matter": 650000.0, "lesion": 7500.0},
    "enhancing_count": 2,
}


def write_truth(folder, cohort, **_):
    for person in cohort:
        write_json(folder.parent / "truth" / f"sub-{person.label}" / "truth.json", TRUE)


def measure(bids: Path, derivatives: Path) -> int:
    """Stands for the two levels: one participant measured, the other lost."""
    assert bids.name == "bids"
    rows = [
        ("chi_relative_csf", "pallidum", "LR", 120.0, "ppb"),
        ("chi_relative_csf", "thalamus", "L", -16.0, "ppb"),
        ("chi_relative_csf", "thalamus", "LR", -16.5, "ppb"),
        ("volume", "thalamus", "LR", 12500.0, "mm3"),
        ("volume", "gray_matter", "n/a", 640000.0, "mm3"),
        ("volume", "lesion", "n/a", "n/a", "mm3"),
        ("enhancing_count", "enhancing", "n/a", 1.0, "1"),
    ]
    lines = ["measure\tregion\themisphere\tvalue\tunit"]
    lines += ["\t".join(str(cell) for cell in row) for row in rows]
    name = "sub-01/anat/sub-01_desc-qsmthal_measures.tsv"
    write_text(derivatives / name, "\n".join(lines) + "\n")
    write_text(derivatives / "sub-01.html", "")
    return 1


def test_truth_stands_beside_the_estimate(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(simulate, "write_dataset", write_truth)
    status = demo.run(tmp_path, process=measure, participants=2, seed=3)
    printed = capsys.readouterr().out
    lines = [line.split() for line in printed.splitlines() if line.startswith("sub-")]
    assert status == 1
    assert lines[0] == [
        "sub-01",
        *["relative", "susceptibility", "(ppb)", "-18.0", "-16.5", "+1.5"],
    ]
    assert lines[1] == ["sub-01", *["thalamus", "(mL)", "13.00", "12.50", "-0.50"]]
    assert lines[2] == ["sub-01", *["gray", "matter", "(mL)", "650", "640", "-10"]]
    assert lines[3] == ["sub-01", *["lesions", "(mL)", "7.50", "n/a", "n/a"]]
    assert lines[4] == ["sub-01", *["enhancing", "lesions", "2", "1", "-1"]]
    assert lines[5] == ["sub-02", *["relative", "susceptibility", "(ppb)", "-18.0", "n/a", "n/a"]]
    assert f"report: {tmp_path / 'derivatives' / 'sub-01.html'}" in printed
    # The last line is a command that starts the page on both folders.
    program, command, *words = shlex.split(printed.splitlines()[-1].partition(": ")[2])
    assert (program, command) == ("bids_qsmthal", "view")
    chosen = options.view_parser().parse_args(words)
    assert (chosen.output_dir, chosen.bids_dir) == (tmp_path / "derivatives", tmp_path / "bids")


def test_a_cohort_from_the_same_plan_is_used_again(tmp_path, monkeypatch):
    made = []

    def write(folder, cohort, **_):
        made.append(len(cohort))
        write_truth(folder, cohort)

    monkeypatch.setattr(simulate, "write_dataset", write)
    for participants in (2, 2, 3):
        demo.run(tmp_path, process=measure, participants=participants, seed=3)
    assert made == [2, 3]


def test_a_cohort_is_made_again_in_other_heads_or_after_they_changed(tmp_path, monkeypatch):
    made = []
    labels = tmp_path / "aseg.nii"
    write_text(labels, "one")

    def write(folder, cohort, *, given):
        made.append(given)
        write_truth(folder, cohort)

    monkeypatch.setattr(simulate, "write_dataset", write)
    monkeypatch.setattr(simulate, "read_given", lambda *paths: paths)
    heads = simulation.Files(labels=(labels,))
    for files in (simulation.NO_FILES, heads, heads):
        demo.run(tmp_path, process=measure, participants=1, files=files)
    write_text(labels, "another")
    demo.run(tmp_path, process=measure, participants=1, files=heads)
    assert made == [((), ()), ((labels,), ()), ((labels,), ())]


def test_a_cohort_that_was_cut_off_is_made_again(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(simulate, "write_dataset", fail)
    with pytest.raises(KeyboardInterrupt):
        demo.run(tmp_path, process=measure, participants=1)
    assert not (tmp_path / "truth" / "cohort.json").exists()


def test_the_demonstration_has_every_vendor_oblique_slabs_and_a_spread_of_iron():
    cohort = demo.plan(3, 0)
    assert [person.parameters.vendor.name for person in cohort] == list(demo.VENDORS)
    assert {person.parameters.oblique_deg for person in cohort} == {20.0, 0.0, 8.0}
    iron = [person.parameters.thalamus_chi_ppb for person in cohort]
    assert max(iron) - min(iron) > 20
    assert json.dumps(person_rows := [person.row for person in cohort])
    assert [row["enhancing_lesions"] for row in person_rows] == [1, 0, 1]
