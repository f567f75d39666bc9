"""Running a map: what it has is written after each study, and no failure of that hides why training ended."""

from dataclasses import replace
from pathlib import Path

import pytest

from deepen.errors import RunError
from deepen.study.define.presets import quickstart
from deepen.study.define.study import Study
from deepen.study.map.run_map import STUDIES_FOLDER, run_map
from deepen.study.map.schema import MAP_FILE, load_map
from deepen.study.results.results_file import RESULTS_FILE, ResultsError, write_results
from deepen.study.results.schema import Results
from deepen.study.run.errors import Interrupted

STUDIES = tuple(replace(quickstart(), model=replace(quickstart().model, name=name)) for name in ("a", "b"))


def train(study: Study, folder: Path) -> Results:
    """Write the results of a study, as if it had been trained."""
    folder.mkdir(parents=True, exist_ok=True)
    regime = {"model": study.model.name, "parameters_non_embedding": study.model.parameters_non_embedding}
    results = Results.from_json({"study": study.model.name, "arms": [], "regime": regime})
    write_results(results, folder)
    return results


def damage(folder: Path, study: str) -> None:
    path = folder / STUDIES_FOLDER / study / RESULTS_FILE
    path.parent.mkdir(parents=True)
    path.write_text("{")


@pytest.mark.parametrize("error", [Interrupted(), RunError("the loss is not finite"), KeyboardInterrupt()])
def test_damaged_results_of_another_study_do_not_hide_why_training_ended(
    error: BaseException, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def end(study: Study, folder: Path) -> Results:
        raise error

    damage(tmp_path, "b")
    with pytest.raises(type(error)) as ended:
        run_map(STUDIES, tmp_path, end)
    assert ended.value is error
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert str(tmp_path / STUDIES_FOLDER / "b" / RESULTS_FILE) in caplog.text


def test_what_there_is_is_written_when_training_ends(tmp_path: Path) -> None:
    def end_in_the_second(study: Study, folder: Path) -> Results:
        if study.model.name == "b":
            raise Interrupted
        return train(study, folder)

    with pytest.raises(Interrupted):
        run_map(STUDIES, tmp_path, end_in_the_second)
    assert [study.name for study in load_map(tmp_path).studies] == ["a"]


def test_damaged_results_of_a_later_study_are_rewritten_by_it(tmp_path: Path) -> None:
    damage(tmp_path, "b")
    found = run_map(STUDIES, tmp_path, train)
    assert [study.name for study in found.studies] == ["a", "b"]
    assert load_map(tmp_path) == found


def test_damaged_results_that_no_study_rewrites_are_an_error_at_the_end(tmp_path: Path) -> None:
    damage(tmp_path, "c")
    with pytest.raises(ResultsError, match=f"c/{RESULTS_FILE}"):
        run_map(STUDIES, tmp_path, train)
    assert not (tmp_path / MAP_FILE).exists()
