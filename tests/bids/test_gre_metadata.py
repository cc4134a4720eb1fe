import pytest

from bids_qsmthal.bids import gre_metadata
from bids_qsmthal.core.errors import DataError, MissingInputError
from bids_qsmthal.core.scan_warnings import (
    FrequencyInOtherUnit,
    FrequencyOfAnotherField,
    FrequencyUnusable,
)
from bids_qsmthal.qsm import Acquisition
from bids_qsmthal.report import sentences

NOMINAL_HZ = Acquisition(echo_times_s=(0.01,), field_strength_t=3).nominal_frequency_hz


@pytest.mark.parametrize(
    ("stored", "expected_hz"),
    [(123.2, 123.2e6), (127.74, 127.74e6), (123246.5, 123.2465e6), (123.2e6, 123.2e6)],
)
def test_the_imaging_frequency_is_taken_in_whatever_unit_fits_the_field(
    stored, expected_hz
) -> None:
    found, said = gre_metadata.imaging_frequency_hz([{"ImagingFrequency": stored}], NOMINAL_HZ, "x")
    assert found == pytest.approx(expected_hz)
    assert isinstance(said, FrequencyInOtherUnit) is (stored > 1000)


@pytest.mark.parametrize("stored", [63.87, 140.0, 297.2])
def test_a_frequency_of_another_field_is_said(stored) -> None:
    found, said = gre_metadata.imaging_frequency_hz([{"ImagingFrequency": stored}], NOMINAL_HZ, "x")
    assert found == pytest.approx(stored * 1e6)
    assert isinstance(said, FrequencyOfAnotherField)
    assert said.stated_field_t == pytest.approx(3)


@pytest.mark.parametrize("stored", [0, -1, "123", [123.2]])
def test_what_is_no_frequency_is_said_and_not_taken(stored) -> None:
    found, said = gre_metadata.imaging_frequency_hz([{"ImagingFrequency": stored}], NOMINAL_HZ, "x")
    assert found is None
    assert said == FrequencyUnusable(repr(stored))


def test_the_frequency_gives_the_field_where_tesla_is_absent() -> None:
    found = gre_metadata.field_strength_t([{"ImagingFrequency": 123.2}], "x")
    assert found == pytest.approx(2.8936, abs=1e-3)
    with pytest.raises(MissingInputError, match="expected tesla"):
        gre_metadata.field_strength_t([{}], "x")


def test_susceptibility_is_relative_to_the_measured_frequency() -> None:
    acquisition = Acquisition(
        echo_times_s=(0.01,), field_strength_t=3, imaging_frequency_hz=123.2e6
    )
    assert acquisition.centre_frequency_hz == 123.2e6
    assert acquisition.effective_field_t == pytest.approx(2.8936, abs=1e-3)


@pytest.mark.parametrize(
    ("one", "other"), [(2.89362, 2.8936), ("SIEMENS", "Siemens"), ("GE ", "ge"), (3, 3.0)]
)
def test_two_spellings_of_one_value_are_one(one, other) -> None:
    assert gre_metadata.one_value([{"key": one}, {}, {"key": other}], "key", "x") == one


@pytest.mark.parametrize(("one", "other"), [(2.89, 3.0), ("Siemens", "GE"), (3, "3")])
def test_two_values_are_named(one, other) -> None:
    with pytest.raises(DataError, match="key differs between the sidecars") as raised:
        gre_metadata.one_value([{"key": one}, {"key": other}], "key", "x")
    assert repr(one) in str(raised.value)
    assert repr(other) in str(raised.value)


@pytest.mark.parametrize(
    ("sidecar", "agent"),
    [
        ({"ContrastBolusAgent": "Gadovist"}, "Gadovist"),
        ({"ContrastBolusIngredient": ["GADOLINIUM"]}, "GADOLINIUM"),
        ({"ContrastBolusAgent": "None"}, ""),
        ({"ContrastBolusAgent": ""}, ""),
        ({}, ""),
    ],
)
def test_a_contrast_agent_is_named(sidecar, agent) -> None:
    assert gre_metadata.contrast_agent([sidecar]) == agent


@pytest.mark.parametrize(
    ("sidecar", "wanted"),
    [
        ({"SliceThickness": 2, "SpacingBetweenSlices": 2}, ()),
        ({"SliceThickness": 2, "SpacingBetweenSlices": 2.6}, ("GapBetweenSlices",)),
        # Zero-filled slices of a 3-D scan overlap.
        ({"SliceThickness": 4, "SpacingBetweenSlices": 2}, ()),
        ({"SpacingBetweenSlices": 3.2}, ("SlicesElsewhere",)),
        ({"AcquisitionMatrixPE": 256, "ReconMatrixPE": 512}, ("ZeroFilled",)),
        ({"AcquisitionMatrixPE": 250, "ReconMatrixPE": 256}, ()),
        ({"SliceThickness": "thick", "SpacingBetweenSlices": -2}, ()),
        ({}, ()),
    ],
)
def test_slices_and_matrix_are_held_against_the_header(
    sidecar: dict[str, object], wanted: tuple[str, ...]
) -> None:
    size = (0.5, 0.5, 2.6 if "GapBetweenSlices" in wanted else 2.0)
    found = gre_metadata.geometry_doubts([sidecar, sidecar], size)
    assert tuple(type(doubt).__name__ for doubt in found) == wanted
    for doubt in found:
        assert sentences.sentence(doubt)


def test_sidecars_that_differ_about_slices_say_nothing() -> None:
    sidecars = [{"SliceThickness": 2, "SpacingBetweenSlices": size} for size in (2.0, 3.0)]
    assert gre_metadata.geometry_doubts(sidecars, (1, 1, 2)) == ()
