"""The reference pages of the documentation hold everything that the code has."""

import re
from pathlib import Path

import pytest

from bids_qsmthal import choices
from bids_qsmthal.app import cli, options
from bids_qsmthal.bids.products import PRODUCTS
from bids_qsmthal.core.errors import ExitCode
from bids_qsmthal.group import dictionary
from bids_qsmthal.participant import measures
from bids_qsmthal.report import words
from bids_qsmthal.roi.quality import LIMITS
from tests.seam import Study
from tools import write_reference

INDEX = Path(__file__).parents[1] / "docs" / "index.md"


def rows(page: str) -> dict[str, list[str]]:
    """Return the cells of each row of the tables of a page, by its first one."""
    lines = re.findall(r"^\| `?([^|`]+)`? \|(.*)\|$", page, flags=re.MULTILINE)
    return {name: [cell.strip() for cell in rest.split(" |")] for name, rest in lines}


def test_every_page_is_in_the_contents_of_the_site() -> None:
    listed = re.findall(r"^reference/(.+)$", INDEX.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted(listed) == sorted(write_reference.PAGES)


def test_every_command_and_every_option_is_there() -> None:
    page = write_reference.command_line()
    for command in cli.COMMANDS:
        assert f"## `bids_qsmthal {command}`" in page
    parser = options.main_parser()
    spelled = [name for action in parser._actions for name in action.option_strings]
    missing = [name for name in spelled if "_" not in name and f"`{name}`" not in page]
    assert set(missing) <= {"-h", "--help"}


def test_every_method_exit_status_and_image_is_there() -> None:
    methods = choices.describe_all()
    assert methods in write_reference.PAGES["methods"]()
    statuses = rows(write_reference.exit_statuses())
    assert {str(int(code)) for code in ExitCode} <= set(statuses)
    images = rows(write_reference.outputs())
    for product in PRODUCTS.values():
        assert images[f"*_{product.ending}.nii.gz"][1] == (product.units or "")


def test_every_check_is_there_with_its_limits_and_their_source() -> None:
    page = rows(write_reference.quality_checks())
    assert set(words.CHECKS) <= set(page)
    for limit in LIMITS:
        what, unit, *_, source = page[limit.name]
        assert (what, unit, source) == (words.check(limit.name), limit.unit, limit.source)
    assert page["snr"][2:4] == ["from 20", "from 5"]
    assert page["ghost"][2:4] == ["up to 0.015", "up to 0.03"]
    assert page["thalamus_asymmetry"][2:4] == ["-0.2 to 0.2", ""]


def test_every_measure_is_there_with_its_unit_and_its_formula() -> None:
    page = rows(write_reference.numbers())
    for name, formula in measures.DICTIONARY["measure"]["Levels"].items():
        assert page[name] == [write_reference.unit(name), formula.replace("|", r"\|")]
    assert page["chi_relative_csf"][0] == "ppb"


@pytest.mark.slow
def test_the_units_of_the_page_are_those_of_a_real_table(tiny_study: Study) -> None:
    table = tiny_study.measures
    assert len(table) > 20
    for measure, unit in zip(table["measure"], table["unit"], strict=True):
        assert write_reference.unit(measure) == unit, measure


def test_every_column_of_the_tables_of_the_group_level_is_there() -> None:
    page = write_reference.PAGES["group-tables"]()
    for name, columns in dictionary.TABLES.items():
        part = page.split(f"## {name}\n")[1].split("\n## ")[0]
        assert set(rows(part)) >= set(columns), name
