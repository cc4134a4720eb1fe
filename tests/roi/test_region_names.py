import pytest

from bids_qsmthal.roi.region_names import FREESURFER, Region, parsed, region


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Left-Thalamus", Region("thalamus", "L")),
        ("Right-Thalamus-Proper", Region("thalamus", "R")),
        ("Left-Accumbens-area", Region("accumbens", "L")),
        ("rednucleus_R", Region("red_nucleus", "R")),
        ("Right-Red-Nucleus", Region("red_nucleus", "R")),
        ("lh_pulvinar", Region("pulvinar", "L")),
        ("Brain-Stem", Region("brain_stem", "n/a")),
        ("Left-Pallidum", Region("pallidum", "L")),
    ],
)
def test_names_are_split_into_region_and_side(name, expected):
    assert parsed(name) == expected


def test_given_names_win_and_unknown_labels_keep_their_number():
    assert region(10, {10: "Right-Something"}) == Region("something", "R")
    assert region(10, {}) == Region("thalamus", "L")
    assert region(777, {}) == Region("label_777", "n/a")


def test_left_and_right_of_freesurfer_come_in_pairs():
    sided = [what for what in FREESURFER.values() if what.hemisphere != "n/a"]

    for what in sided:
        assert {one.hemisphere for one in sided if one.name == what.name} == {"L", "R"}
