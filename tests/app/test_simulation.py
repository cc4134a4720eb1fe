import pytest

from bids_qsmthal import simulate
from bids_qsmthal.app.cli import main
from bids_qsmthal.core.errors import ExitCode


@pytest.fixture
def written(monkeypatch):
    """What would be simulated: folder, cohort, scenario."""
    asked = []

    def write(folder, cohort, scenario):
        asked.append((folder, cohort, scenario))
        return folder.parent / "truth"

    monkeypatch.setattr(simulate, "write_dataset", write)
    return asked


def test_the_words_of_the_command_line_become_the_cohort(tmp_path, written):
    words = ["--participants", "3", "--seed", "4", "--protocol", "clinical", "--scenario", "flow"]
    assert main(["simulate", str(tmp_path), *words, "--vendor", "ge", "philips"]) == 0
    ((folder, cohort, scenario),) = written
    assert folder == tmp_path / "bids"
    assert scenario is simulate.SCENARIOS["flow"]
    assert [person.parameters.vendor.name for person in cohort] == ["ge", "philips", "ge"]
    assert {person.parameters.protocol.name for person in cohort} == {"clinical"}
    alone = simulate.draw_cohort(3, 4)
    assert [p.parameters.thalamus_chi_ppb for p in cohort] == [
        p.parameters.thalamus_chi_ppb for p in alone
    ]


@pytest.mark.parametrize(
    ("option", "wrong", "right"),
    [
        ("--protocol", "fine", "study"),
        ("--vendor", "acme", "ge-chopped"),
        ("--scenario", "x", "7t"),
    ],
)
def test_an_unknown_name_is_answered_with_the_known_ones(
    tmp_path, written, capsys, option, wrong, right
):
    assert main(["simulate", str(tmp_path), option, wrong]) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{option} '{wrong}': expected one of " in said
    assert right in said
    assert not written


def test_a_dataset_that_is_there_is_left_alone(tmp_path, written, capsys):
    (tmp_path / "bids").mkdir()
    assert main(["simulate", str(tmp_path)]) == ExitCode.OUTPUT
    assert f"{tmp_path / 'bids'} is there already" in capsys.readouterr().err
    assert not written


def test_every_scenario_is_listed_with_what_it_is(tmp_path, written, capsys):
    assert main(["simulate", str(tmp_path), "--scenario", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(simulate.SCENARIOS)
    assert all(known.title in "\n".join(lines) for known in simulate.SCENARIOS.values())
    assert not written


def test_the_readme_of_a_dataset_says_what_its_scanner_does(tmp_path):
    for name in ("plain", "flow"):
        simulate.write_dataset(tmp_path / name / "bids", [], simulate.SCENARIOS[name])
    plain = (tmp_path / "plain/bids/README").read_text()
    flow = (tmp_path / "flow/bids/README").read_text()
    assert "noise is white; no flow, no chemical shift of fat" in plain
    assert "no flow" not in flow
    assert "gradient echo: flow in veins and arteries; no chemical shift of fat" in flow
