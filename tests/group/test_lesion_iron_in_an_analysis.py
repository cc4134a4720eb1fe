"""What the page on lesions shows for an analysis file can be added to the packaged one."""

from pathlib import Path
from typing import Any

import yaml

from bids_qsmthal.core.documents import parse
from bids_qsmthal.group import analysis_file
from bids_qsmthal.participant.measures import DICTIONARY

PAGE = Path(__file__).parents[2] / "docs" / "lesion-iron.md"


def joined(one: Any, other: Any) -> Any:
    """Return mappings joined key by key, and lists one after the other."""
    if isinstance(one, dict) and isinstance(other, dict):
        common = {key: joined(one[key], other[key]) for key in one.keys() & other.keys()}
        return one | other | common
    return [*one, *other]


def test_rims_and_susceptibility_of_lesions_can_be_variables() -> None:
    shown = yaml.safe_load(PAGE.read_text().split("```yaml\n")[1].split("```")[0])
    whole = joined(yaml.safe_load(analysis_file.packaged()), shown)
    analysis = analysis_file.analysed(parse(yaml.safe_dump(whole, sort_keys=False), PAGE))
    assert {"rims", "lesion_chi", "chi_any_rim"} <= {model.name for model in analysis.models}
    names = ("rim_count", "any_rim", "lesion_chi")
    measures = {whole["Variables"][name]["Measure"] for name in names}
    assert measures == {"rim_count", "rim_present", "chi_relative_nawm_mean"}
    # What the participant level writes.
    assert measures <= set(DICTIONARY["measure"]["Levels"])
