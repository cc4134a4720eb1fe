from pathlib import Path

from bids_qsmthal.core.sources import OURS, Program, ProgramName, dataset
from bids_qsmthal.report import MethodsRun, citation

ONE = MethodsRun(version="1.0", lesions=dataset("a", Program(ProgramName.LST_AI, "LST-AI")))
OTHER = MethodsRun(version="1.0", lesions=OURS)


def test_the_dataset_says_each_text_once_under_the_names_of_all(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    for name, ran in (("sub-01", ONE), ("sub-02", OTHER), ("sub-03", ONE)):
        citation.write(logs, name, ran)
    citation.write_dataset(tmp_path)
    text = (tmp_path / "CITATION.md").read_text()
    assert "# Methods: sub-01, sub-03\n" in text
    assert "# Methods: sub-02\n" in text
    assert text.count((logs / "sub-01_CITATION.md").read_text()) == 1
    assert "10.3174/ajnr.A5537" in text


def test_every_work_is_in_the_bibliography_once(tmp_path: Path) -> None:
    for name, ran in (("sub-01", ONE), ("sub-02", OTHER)):
        citation.write(tmp_path / "logs", name, ran)
    citation.write_dataset(tmp_path)
    entries = (tmp_path / "CITATION.bib").read_text().splitlines()
    keys = [entry.split("{")[1].split(",")[0] for entry in entries]
    assert len(keys) == len(set(keys))
    for name in ("sub-01", "sub-02"):
        own = (tmp_path / "logs" / f"{name}_CITATION.bib").read_text().splitlines()
        assert own
        assert set(own) <= set(entries)


def test_nothing_ran_and_nothing_is_cited_but_the_study(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    citation.write_dataset(tmp_path)
    assert "# Methods" not in (tmp_path / "CITATION.md").read_text()
    assert (tmp_path / "CITATION.bib").read_text() == ""
