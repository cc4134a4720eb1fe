import pandas as pd

from bids_qsmthal.participant import measures
from bids_qsmthal.participant.lesion_iron import DICTIONARY
from bids_qsmthal.report import words
from bids_qsmthal.roi import LIMITS


def test_every_limit_and_every_measure_of_the_dictionary_has_a_reader_s_words() -> None:
    assert {limit.name for limit in LIMITS} <= set(words.CHECKS)
    listed = set(measures.DICTIONARY["measure"]["Levels"])
    assert listed <= set(words.MEASURES)
    # A key in disguise is no word of a reader.
    assert not [text for text in (*words.CHECKS.values(), *words.MEASURES.values()) if "_" in text]


def test_regions_are_spelled_out_and_those_of_a_user_stay_as_named() -> None:
    table = pd.DataFrame(
        {
            "measure": ["chi_mean", "volume", "volume"],
            "region": ["thalamus_av", "caudate", "tracts:CST_left"],
            "hemisphere": ["L", "LR", "n/a"],
        }
    )
    shown = words.measures_table(table)
    assert shown["region"].tolist() == [
        "thalamus, AV: anteroventral",
        "caudate",
        "tracts:CST_left",
    ]
    assert shown["side"].tolist() == ["left", "both", "n/a"]
    assert table["measure"].tolist()[0] == "chi_mean"


def test_a_heading_within_a_sentence_keeps_its_abbreviations() -> None:
    assert words.within("Share of the thalami classified as vein") == (
        "share of the thalami classified as vein"
    )
    assert words.within("CSF reference, left minus right") == "CSF reference, left minus right"


def test_the_pulvinar_of_freesurfer_is_its_lateral_part() -> None:
    assert words.nucleus("pul") == "Pul: pulvinar"
    assert words.nucleus("pul", {"pul", "pum"}) == "PuL: lateral pulvinar"
    assert words.region("thalamus_pul", {"thalamus_pum"}) == "thalamus, PuL: lateral pulvinar"


def test_the_page_asks_of_a_lesion_what_fits_on_paper_and_the_file_keeps_all() -> None:
    table = pd.DataFrame({"id": [1], "x_mm": [3.0], "rim": ["absent"], "r2star_hz": [20.0]})
    shown = words.lesion_table(table)
    assert shown.to_dict("records") == [{"lesion": 1, "R2* (1/s)": 20.0, "rim": "absent"}]
    assert list(table) == ["id", "x_mm", "rim", "r2star_hz"]
    assert len(words.LESION_COLUMNS) <= 10
    # What is not assessed is told by it.
    assert "rim_visible_ppb" in words.LESION_COLUMNS
    assert set(words.LESION_COLUMNS) <= set(DICTIONARY)


def test_a_limit_is_not_broken_and_has_the_minus_of_its_value() -> None:
    table = pd.DataFrame(
        {
            "name": ["thalamus_asymmetry"],
            "unit": ["fraction"],
            "threshold": ["check < -0.2; check > 0.2"],
        }
    )
    shown = words.checks_table(table)["limit"].item()
    assert shown == "check\xa0<\xa0\u22120.2; check\xa0>\xa00.2"
    assert shown.split(" ") == ["check\xa0<\xa0\u22120.2;", "check\xa0>\xa00.2"]
