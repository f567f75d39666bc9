"""`deepen study map`: run or continue the studies of a map, one after the other, and draw it."""

import json
from dataclasses import replace
from pathlib import Path

from deepen.bench.speed import measure_speed
from deepen.cli.commands.running import run_study
from deepen.cli.output.map_tables import print_map
from deepen.cli.requests.run_request import MapRequest
from deepen.report.map.draw import draw_map
from deepen.study.define.study import Study
from deepen.study.map import run_map as maps
from deepen.study.map.plan import plan_map
from deepen.study.results.results_file import ResultsError
from deepen.study.results.schema import Results
from deepen.study.run.errors import Interrupted
from deepen.study.run.executors.registry import get_kind
from deepen.study.run.forecast import announce_days
from deepen.train.settings import AUTO


def run_map(request: MapRequest) -> int:
    """Run the map and print its cells, also if it is interrupted."""

    def train(study: Study, folder: Path) -> Results:
        return run_study(replace(request, study=study, folder=folder), None)

    if not maps.find_studies(request.folder):
        _warn_of_days(request)
    try:
        found = maps.run_map(request.studies, request.folder, train, draw_map)
    except Interrupted:
        if not request.as_json:
            _print_results_so_far(request.folder)
        raise
    if request.as_json:
        print(json.dumps(found.to_json(), indent=1))
    else:
        print_map(found, request.folder)
    return 0


def _print_results_so_far(folder: Path) -> None:
    """Print the cells of an interrupted map; nothing if results are damaged, which was logged already."""
    try:
        found = maps.collect_map(folder)
    except (ResultsError, OSError):
        return
    print_map(found, folder)


def _warn_of_days(request: MapRequest) -> None:
    """Log a warning if all studies together take days here: each study will announce its own time only."""
    kind = get_kind(request.executor)
    plan, jobs = plan_map(request.studies), request.executor.jobs or kind.default_jobs() or 1
    largest = max(plan.trees, key=lambda tree: tree.flops).study
    if kind.trains_here and largest.settings.precision != AUTO:
        threads = request.threads or kind.default_threads(jobs)
        announce_days(plan.flops / jobs, lambda: measure_speed(largest, threads, apart=True), "the map")
