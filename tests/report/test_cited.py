"""What is cited is what ran: every method of the command with the works it must name."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest

from bids_qsmthal import choices
from bids_qsmthal.report import methods
from tests.seam import NAME, Study

WORKS = {
    "unwrapping": {"romeo": {"dymerska2021"}, "laplacian": {"schofield2003"}},
    "background": {
        "joint": {"liu2011", "liu2017"},
        "pdf": {"liu2011"},
        "v-sharp": {"schweser2011", "wu2012"},
        "resharp": {"sun2014"},
        "ismv": {"wen2014"},
        "lbv": {"zhou2014"},
    },
    "inversion": {
        "medi": {"liu2012", "liu2013"},
        "medi0": {"liu2012", "liu2018"},
        "tv": {"bilgic2014"},
        "l2": {"bilgic2014jmri"},
        "tkd": {"shmueli2009"},
    },
}
"""By step and method: the works of Table 1 of the consensus (doi 10.1002/mrm.30006) and theirs."""


def cited(ran: dict[str, str]) -> set[str]:
    return {work.key for work in methods.describe(ran).references}


@pytest.mark.parametrize(
    ("step", "method"), [(step, method) for step, known in WORKS.items() for method in known]
)
def test_a_method_cites_its_own_works_and_no_others(step: str, method: str) -> None:
    assert cited({step: method}) == WORKS[step][method]
