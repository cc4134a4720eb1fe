"""The digital cohort: participants with known truth, for demonstration, tests and benchmarks."""

from bids_qsmthal.simulate.cohort import (
    MeasuresCohort,
    Planned,
    draw_cohort,
    draw_people,
    measures_cohort,
)
from bids_qsmthal.simulate.dataset import write_dataset, write_participant
from bids_qsmthal.simulate.effects import PLAIN, Effects
from bids_qsmthal.simulate.given import GivenFiles, read_given
from bids_qsmthal.simulate.head_model import NOTHING_GIVEN, Given
from bids_qsmthal.simulate.parameters import (
    PROTOCOLS,
    VENDORS,
    Parameters,
    Protocol,
    Vendor,
    with_voxels,
)
from bids_qsmthal.simulate.participants import (
    Participant,
    SimulatedScan,
    gradient_echo_scan,
    head_scans,
    participant,
)
from bids_qsmthal.simulate.scenarios import SCENARIOS, Scenario
from bids_qsmthal.simulate.truth import Truth

__all__ = [
    "NOTHING_GIVEN",
    "PLAIN",
    "PROTOCOLS",
    "SCENARIOS",
    "VENDORS",
    "Effects",
    "Given",
    "GivenFiles",
    "MeasuresCohort",
    "Parameters",
    "Participant",
    "Planned",
    "Protocol",
    "Scenario",
    "SimulatedScan",
    "Truth",
    "Vendor",
    "draw_cohort",
    "draw_people",
    "gradient_echo_scan",
    "head_scans",
    "measures_cohort",
    "participant",
    "read_given",
    "with_voxels",
    "write_dataset",
    "write_participant",
]
