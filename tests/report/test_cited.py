"""What a real run cites is what its sidecars say ran."""

from __future__ import annotations

import re

import pytest

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
"""By step and method: who described it."""

NAMES = {
    "ROMEO": "romeo",
    "joint sources inside and outside the mask": "joint",
    "V-SHARP": "v-sharp",
    "TKD": "tkd",
}
"""Methods as sidecars name them; MEDI is MEDI+0 where it keeps CSF uniform."""


pytestmark = pytest.mark.slow


@pytest.fixture(params=["tiny", "seam"])
def study(request: pytest.FixtureRequest) -> Study:
    made: Study = request.getfixturevalue(f"{request.param}_study")
    return made


def cited(study: Study, name: str) -> set[str]:
    text = (study.out / "logs" / f"{name}_CITATION.bib").read_text()
    return set(re.findall(r"^@\w+\{(\w+),", text, re.MULTILINE))


def test_what_the_sidecar_says_ran_is_cited_and_nothing_else(study: Study) -> None:
    ran = study.sidecar("Chimap")["Method"]
    inversion = ran["Inversion"]
    medi = "medi0" if inversion.get("csf_regularisation", 0) > 0 else "medi"
    used = {
        "unwrapping": NAMES[ran["Field"]["unwrapping"]["Name"]],
        "background": NAMES[ran["Background"]["Name"]],
        "inversion": medi if inversion["Name"] == "MEDI" else NAMES[inversion["Name"]],
    }
    wanted = set().union(*(WORKS[step][method] for step, method in used.items()))
    others = set().union(*(works for known in WORKS.values() for works in known.values()))
    found = cited(study, NAME)
    assert wanted <= found
    # The nonlinear fit of the field is of one of the works on MEDI; the solver by splitting is that
    # of total variation.
    solver = {"bilgic2014"} if inversion.get("solver", {}).get("Name") == "split Bregman" else set()
    assert found & others <= wanted | {"liu2013"} | solver
    page = (study.out / f"{NAME}.html").read_text()
    text = (study.out / "logs" / f"{NAME}_CITATION.md").read_text()
    for line in re.findall(r"^\d+\. .*(https://doi\S+)$", text, re.MULTILINE):
        assert line in page


def test_only_steps_with_an_input_are_described(study: Study) -> None:
    text = (study.out / "logs" / f"{NAME}_CITATION.md").read_text()
    found = cited(study, NAME)
    has_t1w = (study.bids / NAME / "anat" / f"{NAME}_T1w.nii.gz").exists()
    for key in ("tustison2010", "fisch2024", "avants2011", "avants2008"):
        assert (key in found) == has_t1w, key
    assert ("FLAIR" in text) == has_t1w
    assert ("contrast agent" in text) == has_t1w
    assert ("were taken from mine." in text) == (not has_t1w)
    assert "4 echoes (TE 5 to 20 ms) at 3 T" in text
    assert {"chiang2018", "bilgic2024"} <= found


def test_the_dataset_cites_what_its_participants_and_the_group_cite(study: Study) -> None:
    whole = set(re.findall(r"@\w+\{(\w+),", (study.out / "CITATION.bib").read_text()))
    assert whole == cited(study, NAME) | cited(study, "group")
    assert "seabold2010" in whole
