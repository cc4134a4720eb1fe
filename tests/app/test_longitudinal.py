"""``--longitudinal``: persons with several visits are compared after their sessions."""

from dataclasses import replace
from pathlib import Path

import pytest

from bids_qsmthal import execution, participant
from bids_qsmthal.app import cli, levels, options
from bids_qsmthal.bids.dataset import Session
from bids_qsmthal.execution import Outcome
from bids_qsmthal.participant import change
from bids_qsmthal.report import citation
from bids_qsmthal.settings import Settings


def _settings(folder: Path, *words: str) -> Settings:
    (folder / "bids").mkdir(exist_ok=True)
    (folder / "bids" / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9"}')
    line = [str(folder / "bids"), str(folder / "out"), "participant", *words]
    chosen = options.main_parser().parse_args(line)
    return replace(cli.settings_from(chosen, line), check_names=False)


@pytest.mark.parametrize("wanted", [(), ("--longitudinal", "off"), ("--longitudinal", "auto")])
def test_visits_are_compared_after_all_sessions_where_it_is_asked_for(
    wanted: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _settings(tmp_path, *wanted)
    sessions = [
        Session(root=settings.bids_dir, subject=subject, session=session)
        for subject, session in (("01", "a"), ("01", "b"), ("02", "a"))
    ]
    ran: list[tuple[str, object]] = []

    def run(some: list[Session], _: Settings, process: object) -> list[Outcome]:
        ran.extend((one.name, process) for one in some)
        if process is participant.process:
            for one in some:
                (settings.output_dir / "logs").mkdir(parents=True, exist_ok=True)
                (settings.output_dir / "logs" / f"{one.name}_manifest.tsv").write_text("path\n")
        return [Outcome(one.name, 0, "", 0.0) for one in some]

    monkeypatch.setattr(levels, "find_sessions", lambda *_, **__: sessions)
    monkeypatch.setattr(execution, "run", run)
    monkeypatch.setattr(citation, "write_dataset", lambda _: None)
    assert levels.run(settings) == 0
    single = [(one.name, participant.process) for one in sessions]
    together = [("sub-01", change.process)] if "auto" in wanted else []
    assert ran == [*single, *together]
