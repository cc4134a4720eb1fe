"""What the page shows for a region of a user's atlas finds its numbers at the group level."""

from pathlib import Path

import pandas as pd
import yaml

from bids_qsmthal.core.documents import parse
from bids_qsmthal.group import analysis_file, measures
from bids_qsmthal.participant.measures import DICTIONARY
from tests.group.test_lesion_iron_in_an_analysis import joined

PAGE = Path(__file__).parents[2] / "docs" / "bring-your-own.md"


def test_a_region_of_an_atlas_can_be_a_variable() -> None:
    shown = yaml.safe_load(PAGE.read_text().split("```yaml\n")[1].split("```")[0])
    whole = joined(yaml.safe_load(analysis_file.packaged()), shown)
    analysis = analysis_file.analysed(parse(yaml.safe_dump(whole, sort_keys=False), PAGE))
    assert "chi_tract" in {model.name for model in analysis.models}
    variable = whole["Variables"]["tract_lesions"]
    assert variable["Measure"] in DICTIONARY["measure"]["Levels"]
    row = {"measure": variable["Measure"], "region": variable["Region"], "hemisphere": "n/a"}
    person = {"participant_id": "sub-01", "session_id": "n/a", "value": 0.25}
    wide = measures.wide(pd.DataFrame([row | person]))
    column = measures.column_name(*row.values())
    assert wide[column].tolist() == [0.25]
