import base64
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bids_qsmthal.bids import manifest
from bids_qsmthal.core.decision import Decision
from bids_qsmthal.report import (
    AnatomyMaps,
    GreMaps,
    LesionMaps,
    MethodsRun,
    ParticipantReport,
    Prose,
    RegionMasks,
    RegionsRun,
    render,
    write_participant,
)
from bids_qsmthal.report.page import Notice, Table, Verdict
from bids_qsmthal.report.participant_page import participant_page
from bids_qsmthal.report.saving import pictures
from bids_qsmthal.roi import ReferenceLevel, ReferenceRegion


@pytest.fixture(scope="module")
def page(full_report):
    return participant_page(full_report)


def test_the_summary_says_the_number_with_its_interval(page) -> None:
    tiles = {tile.label: (tile.value, tile.note) for tile in page.summary}
    value, note = tiles["Relative susceptibility"]
    assert value == "\u221218.0 ppb"
    assert note.endswith("95 % interval \u221220.0 to \u221216.0 ppb")
    assert tiles["Left thalamus"][0] == "\u221217.2 ppb"
    assert tiles["Right thalamus"][0] == "\u221218.8 ppb"
    assert tiles["Thalamic volume"][0] == "14.00 mL"
    assert tiles["Gray matter volume"][0] == "612 mL"
    assert tiles["Cortical thickness"][0] == "2.46 mm"
    assert tiles["Lesion volume"] == ("5.23 mL", "14 connected lesions")
    assert tiles["Enhancing lesions"][0] == "0"


def test_each_side_has_its_interval_and_lends_none_to_the_other(full_report, measures) -> None:
    row = {"region": "thalamus", "hemisphere": "L", "unit": "ppb"}
    ends = [
        {"measure": "chi_relative_csf_ci_low", "value": -20.5, **row},
        {"measure": "chi_relative_csf_ci_high", "value": -14.0, **row},
    ]
    table = pd.concat([measures, pd.DataFrame(ends)], ignore_index=True)
    page = participant_page(replace(full_report, measures=table))
    notes = {tile.label: tile.note for tile in page.summary}
    assert notes["Left thalamus"].endswith("95 % interval \u221220.5 to \u221214.0 ppb")
    assert "interval" not in notes["Right thalamus"]


def test_a_scan_that_failed_stands_under_errors_and_else_it_is_said_that_none_did(
    full_report,
) -> None:
    failed = Notice("The FLAIR cannot be used.", "Mend the scan.", "error")
    page = participant_page(replace(full_report, warnings=(failed,)))
    (errors,) = (section for section in page.sections if section.title == "Errors")
    assert errors.blocks[0].frame.iloc[0].tolist() == [
        "The FLAIR cannot be used.",
        "Mend the scan.",
    ]
    (none,) = (one for one in participant_page(full_report).sections if one.title == "Errors")
    assert none.blocks[0].text.startswith("None")


def test_the_page_says_from_what_it_was_made(full_report, tmp_path) -> None:
    made = replace(
        full_report,
        command="bids_qsmthal BIDS_DIR OUTPUT_DIR participant",
        inputs=("sub-01/anat/sub-01_T1w.nii.gz",),
        scanned_on="2020-03-01",
    )
    text = render(participant_page(made))
    about = text[text.index('id="about"') :]
    assert "bids_qsmthal BIDS_DIR OUTPUT_DIR participant" in about
    assert "sub-01/anat/sub-01_T1w.nii.gz" in about
    # Commands that differ in folders and cores alone give pages of equal content.
    other = replace(made, command="bids_qsmthal BIDS_DIR OUTPUT_DIR participant --nprocs 2")
    pages = [tmp_path / "one.html", tmp_path / "other.html"]
    for page, report in zip(pages, (made, other), strict=True):
        page.write_text(render(participant_page(report)))
    assert pages[0].read_bytes() != pages[1].read_bytes()
    assert manifest.content(pages[0]) == manifest.content(pages[1])
    assert "<dt>Scanned on</dt><dd>2020-03-01</dd>" in text


def test_tables_are_read_in_words_and_saved_with_their_keys(page) -> None:
    tables = {
        block.title: block
        for section in page.sections
        for block in section.blocks
        if isinstance(block, Table)
    }
    measured = tables["All measures"]
    assert measured.rows[0][:3] == [
        "relative susceptibility (minus CSF reference)",
        "thalamus",
        "left",
    ]
    saved = base64.b64decode(measured.uri.partition(",")[2]).decode()
    assert saved.splitlines()[1].startswith("chi_relative_csf\tthalamus\tL\t")


def test_a_report_of_nothing_says_what_is_missing_and_claims_no_number() -> None:
    page = participant_page(ParticipantReport(participant_id="sub-9"))
    assert [(tile.value, tile.note) for tile in page.summary] == [("n/a", "not measured")]
    assert "there is no susceptibility map" in render(page)
    said = " ".join(notice.text for notice in page.warnings)
    for missing in ("susceptibility map", "T1-weighted image", "FLAIR", "contrast agent"):
        assert missing in said
    assert pictures(page) == []
    assert "Nothing to show" in render(page)


def test_every_stage_has_its_picture_with_a_description_and_a_name(page) -> None:
    shown = {picture.name: picture for picture in pictures(page)}
    assert len(shown) == len(pictures(page))
    wanted = "magnitude phase brain total local chi r2star thalamus tissue deepgray nuclei "
    wanted += "thickness lesion enhancing lesionchi rims gradientechotot1wfixed "
    wanted += "gradientechotot1wmoving regions sensitivity t1wtotemplatefixed t1wtotemplatemoving"
    named = {re.match(r"desc-(\w+)_", name).group(1) for name in shown}
    assert named == set(wanted.split())
    assert all(picture.alt.strip() for picture in shown.values())


def test_captions_state_the_windows(page) -> None:
    captions = {picture.name: picture.caption for picture in pictures(page)}
    assert "\u2212100 to 100, susceptibility (ppb)" in captions["desc-chi_Chimap"]
    assert "0 to 60, R2* (1/s)" in captions["desc-r2star_R2starmap"]


def test_markup_in_values_is_shown_as_text(page) -> None:
    text = render(page)
    assert text.count("<script>") == 1
    assert "&lt;script&gt;document.title" in text


def test_files_to_correct_are_named_as_the_next_run_looks_for_them(page) -> None:
    text = render(page)
    folder = "OUTPUT_DIR/edits/sub-01/ses-1/anat/sub-01_ses-1_"
    assert f"{folder}space-T1w_label-lesion_mask.nii.gz" in text
    assert f"{folder}space-MEGRE_desc-thalamus_dseg.nii.gz" in text


@pytest.mark.slow
def test_a_page_and_its_pictures_are_written_and_repeat_to_the_byte(
    full_report, written, tmp_path
) -> None:
    figures = tmp_path / "sub-01" / "ses-1" / "figures"
    again = write_participant(full_report, tmp_path / "sub-01_ses-1.html", figures)
    assert len(written) == 25
    assert (figures / "sub-01_ses-1_desc-chi_Chimap.svg").stat().st_size > 1000
    for one, other in zip(written, again, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_a_single_echo_in_another_orientation_is_drawn(head) -> None:
    flipped = head["echoes"].like(np.ascontiguousarray(head["echoes"].data[..., 0]))
    report = ParticipantReport(participant_id="sub-1", gre=GreMaps(magnitude=flipped))
    assert [picture.name for picture in pictures(participant_page(report))] == [
        "desc-magnitude_MEGRE"
    ]


def test_one_side_never_stands_for_the_other(measures) -> None:
    left = measures[measures["hemisphere"] == "L"]
    page = participant_page(ParticipantReport(participant_id="sub-1", measures=left))
    tiles = {tile.label: tile.value for tile in page.summary}
    assert tiles["Left thalamus"] == "\u221217.2 ppb"
    assert tiles["Right thalamus"] == "n/a"
    assert tiles["Relative susceptibility"] == "n/a"


@pytest.fixture(scope="module")
def words(full_report: ParticipantReport) -> ParticipantReport:
    """The report without its images: drawing them takes seconds and changes no word here."""
    return replace(
        full_report,
        gre=GreMaps(),
        regions=RegionMasks(),
        anatomy=AnatomyMaps(),
        lesions=LesionMaps(),
        registrations=(),
    )


def formula(report: ParticipantReport) -> str:
    (section,) = (one for one in participant_page(report).sections if one.title == "The number")
    return next(block.text for block in section.blocks if isinstance(block, Prose))


def with_reference(report: ParticipantReport, region: ReferenceRegion) -> ParticipantReport:
    level = ReferenceLevel(region=region, step=0)
    return replace(
        report, methods_run=MethodsRun(regions=RegionsRun(reference=level, first_choice=region))
    )


def test_both_readings_of_the_study_s_sentence_are_there_with_their_signs(words) -> None:
    ours, literal = formula(words).split("\n\n")[1:3]
    assert "thalamus \u2212 CSF, which gives \u221218.0 ppb" in ours
    assert "larger values for more iron" in ours
    assert "CSF \u2212 thalamus, which gives 18.0 ppb" in literal
    assert "larger values would then mean less iron" in literal


def test_without_a_number_against_csf_no_reading_is_given(words) -> None:
    assert "CSF \u2212 thalamus" not in formula(replace(words, measures=None))
    brain = with_reference(words, ReferenceRegion.BRAIN)
    assert "CSF \u2212 thalamus" not in formula(brain)


@pytest.mark.parametrize(
    ("region", "said", "tile"),
    [
        (ReferenceRegion.ATRIA, "CSF in the atria", "CSF"),
        (ReferenceRegion.VENTRICLES, "CSF in the lateral ventricles", "CSF"),
        (ReferenceRegion.GLOBAL_CSF, "CSF in the middle of the brain", "CSF"),
        (ReferenceRegion.BRAIN, "the whole brain, which is no CSF", "whole brain"),
        (ReferenceRegion.EXTERNAL, "a mask of the user", "CSF"),
    ],
)
def test_the_formula_names_the_reference_that_was_used(
    words, region: ReferenceRegion, said: str, tile: str
) -> None:
    report = with_reference(words, region)
    assert f"the reference is {said}" in formula(report)
    assert participant_page(report).summary[0].note.startswith(f"thalamus \u2212 {tile}, both")


def test_the_page_lists_every_stage_and_what_became_of_it(words) -> None:
    stages = (("FLAIR to T1w", "done"), ("T2 lesions", "left out, its result comes from manual"))
    page = participant_page(replace(words, stages=stages))
    tables = [block for section in page.sections for block in section.blocks]
    (table,) = [block for block in tables if isinstance(block, Table) and block.title == "Stages"]
    assert [tuple(row) for row in table.frame.to_numpy()] == list(stages)
    assert "left out, its result comes from manual" in render(page)


def test_the_number_of_an_excluded_scan_says_so_itself(measures) -> None:
    for decision in Decision:
        report = ParticipantReport(
            participant_id="sub-1", measures=measures, verdict=Verdict(decision)
        )
        warned = participant_page(report).summary[0].note.startswith("excluded by quality control")
        assert warned == (decision is Decision.EXCLUDE)
