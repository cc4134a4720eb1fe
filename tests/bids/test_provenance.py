"""Methods in sidecars have the names that readers use, and parameters with units in their names."""

import typing
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from bids_qsmthal import qsm
from bids_qsmthal.bids.provenance import NAMES, plain
from bids_qsmthal.qsm import Device
from bids_qsmthal.settings import Resources, Settings

GROUPS = {
    *("Settings", "Resources", "Placement", "Selection", "AtlasFile", "OutputSpace"),
    *("Preparation", "SegmentationSettings", "Reconstruction", "RegionSettings", "MaskChoice"),
    *("Device", "Limit", "ChainError"),
}
"""What holds methods or choices and is no method itself."""

REGISTRIES = (
    *(qsm.BACKGROUNDS, qsm.INVERSIONS, qsm.UNWRAPPINGS, qsm.RELAXATIONS, qsm.CSF_REFERENCES),
)


def settings() -> Settings:
    folder = Path("study")
    budget = Resources(cores=1, threads=1, memory_bytes=1)
    return Settings(bids_dir=folder, output_dir=folder, work_dir=folder, resources=budget)


def within(value: object) -> typing.Iterator[type]:
    """Yield the class of a value and of everything that it is made of."""
    if is_dataclass(value):
        yield type(value)
        for item in fields(value):
            yield from within(getattr(value, item.name))
    elif isinstance(value, tuple):
        for item in value:
            yield from within(item)


def every_method() -> set[type]:
    chosen = [method() for registry in REGISTRIES for method in registry.values()]
    return {one for value in (settings(), *chosen) for one in within(value)}


def test_everything_that_a_sidecar_can_hold_is_a_named_method_or_a_group_of_them() -> None:
    unnamed = {one.__name__ for one in every_method() if one not in NAMES}
    assert unnamed - GROUPS == set()


def test_no_two_methods_share_a_name_and_none_is_a_name_of_the_code() -> None:
    assert len(set(NAMES.values())) == len(NAMES)
    assert not {one.__name__ for one in NAMES} & set(NAMES.values())


def test_a_method_is_its_name_and_its_parameters() -> None:
    assert plain(qsm.BACKGROUNDS["resharp"](radius_mm=4.0)) == {
        "Name": "RESHARP",
        "radius_mm": 4.0,
        "regularisation": pytest.approx(qsm.BACKGROUNDS["resharp"]().regularisation),
        "iterations": qsm.BACKGROUNDS["resharp"]().iterations,
    }
    assert plain(Device("cpu")) == "cpu"
    assert "Name" not in plain(settings())


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_json_gets_no_number_that_other_readers_refuse(value: float) -> None:
    assert plain({"limit": value}) == {"limit": str(value)}
