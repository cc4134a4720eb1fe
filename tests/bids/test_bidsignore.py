"""What the outputs' own ``.bidsignore`` lists: no more than what BIDS has no name for."""

from bids_qsmthal.bids.derivatives import IGNORED
from bids_qsmthal.bids.products import PRODUCTS

NO_NAME_IN_BIDS = {"fieldmap", "morph"}
"""Suffixes of our images that the validator refuses in ``anat/``; tried one by one."""

OTHER_FILES = {
    *("*.html", "figures", "group", "edits", "CITATION.*", "*_xfm.*", "*_measures.*"),
    *("*_change.*", "*_lesions.*", "*_quality.*", "*_acquisition.*", "*_sensitivity.*"),
}


def patterns() -> list[str]:
    return [line for line in IGNORED.splitlines() if line and not line.startswith("#")]


def test_only_what_bids_has_no_name_for_is_listed_and_once() -> None:
    listed = patterns()
    assert len(listed) == len(set(listed))
    assert set(listed) == OTHER_FILES | {f"*_{suffix}.*" for suffix in NO_NAME_IN_BIDS}


def test_no_image_that_bids_knows_is_hidden() -> None:
    suffixes = {one.suffix for one in PRODUCTS.values()}
    assert suffixes > NO_NAME_IN_BIDS
    hidden = {suffix for suffix in suffixes if f"*_{suffix}.*" in patterns()}
    assert hidden == NO_NAME_IN_BIDS
