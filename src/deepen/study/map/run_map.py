"""Run a map: its studies one after the other, in folders of their own, then its cells and their law.

    map/
      studies/4x64/...    the study of each model: segments, results.json, report
      map.json            cells, law, tokens saved by sharing

Runs of one model share segments: those of all its recipes, budgets and trials are one study. Two models share
none, as every weight differs. So the folders of the studies are the map's store: an interrupted map continues with
the same call, and one with more recipes, budgets, seeds or models trains what is new.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from deepen import __version__
from deepen.study.define.study import Study
from deepen.study.map.cells import read_cells, read_model
from deepen.study.map.law import fit_laws
from deepen.study.map.plan import check_map
from deepen.study.map.schema import MapResults, MapStudy, write_map
from deepen.study.results.results_file import RESULTS_FILE, ResultsError, load_results
from deepen.study.results.schema import Results, Sharing

STUDIES_FOLDER = "studies"

_log = logging.getLogger(__name__)


def run_map(
    studies: Sequence[Study],
    folder: Path | str,
    train: Callable[[Study, Path], Results],
    draw: Callable[[MapResults, Path], object] = lambda found, folder: None,
) -> MapResults:
    """Run or continue a map; results so far are written after each study, also if one is interrupted or fails.

    Args:
        studies: a study per model; the name of its model names its folder.
        folder: a new folder, or that of this map or a smaller one.
        train: runs or continues a study in its folder, as `deepen.run` does.
        draw: called with the results and the folder each time that they are written.

    Raises:
        InvalidValueError: a study cannot be planned, the folder holds something else, or at the end the results of
            a study in it are damaged.
        Interrupted, RunError: from `train`.
    """
    folder = Path(folder)
    check_map(studies, folder)
    for study in studies:
        try:
            train(study, folder / STUDIES_FOLDER / study.model.name)
        except BaseException:
            _try_to_publish(folder, draw)
            raise
        if study is not studies[-1]:
            _try_to_publish(folder, draw)
    return _publish(folder, draw)


def _try_to_publish(folder: Path, draw: Callable[[MapResults, Path], object]) -> None:
    """Write the results so far; a failure is only a warning.

    It must not replace the error that ended training. If the map continues, the study with the damaged results may
    be one of those to come, which rewrite them.
    """
    if not find_studies(folder):
        return
    try:
        _publish(folder, draw)
    except Exception as error:
        _log.warning("the map's results so far are not written: %s", error)


def _publish(folder: Path, draw: Callable[[MapResults, Path], object]) -> MapResults:
    """Write the results of all studies so far, and draw them."""
    found = collect_map(folder)
    write_map(found, folder)
    draw(found, folder)
    return found


def find_studies(folder: Path) -> list[Path]:
    """The folders of a map's studies that have results."""
    return sorted(path.parent for path in folder.glob(f"{STUDIES_FOLDER}/*/{RESULTS_FILE}"))


def collect_map(folder: Path) -> MapResults:
    """Collect the results of all studies in a map's folder, small models first.

    Raises:
        ResultsError: it has no study with results, or one of them is damaged.
    """
    found = {path: load_results(path) for path in find_studies(folder)}
    if not found:
        raise ResultsError(f"{folder} has no study with results", remedy="run a map first")
    ordered = sorted(found.items(), key=lambda each: each[1].regime.parameters_non_embedding or 0)
    cells = [cell for path, results in ordered for cell in read_cells(results, str(path.relative_to(folder)))]
    return MapResults(
        name=folder.resolve().name,
        deepen=__version__,
        device=", ".join(dict.fromkeys(results.regime.device or results.regime.machine for _, results in ordered)),
        studies=tuple(
            MapStudy(
                name=results.study,
                folder=str(path.relative_to(folder)),
                model=read_model(results.regime),
                trained_share=results.trained_share,
            )
            for path, results in ordered
        ),
        cells=tuple(cells),
        law=fit_laws(cells),
        sharing=Sharing(
            tokens_trained=sum(results.sharing.tokens_trained or 0 for _, results in ordered),
            tokens_if_separate=sum(results.sharing.tokens_if_separate or 0 for _, results in ordered),
        ),
    )
