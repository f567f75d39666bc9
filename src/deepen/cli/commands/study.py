"""`deepen study NAME`: run or continue a study, judge it, draw it. Without a name: the studies there are."""

import inspect
import json
from typing import TYPE_CHECKING

from deepen.cli.output.failures import WRONG_REQUEST
from deepen.cli.output.tables import numbers, print_sentences, print_table, short, text
from deepen.cli.requests.map_options import MAP
from deepen.cli.requests.run_request import MapRequest, RunRequest
from deepen.cli.requests.study import StudyListRequest
from deepen.study.define.presets import STUDIES
from deepen.study.map.define import DEFAULT_MODELS

if TYPE_CHECKING:
    from deepen.train.distributed.processes import World


def run(request: RunRequest | StudyListRequest, world: "World | None" = None) -> int:
    """Run the study and print its results, also if it is interrupted; or list the studies."""
    if isinstance(request, StudyListRequest):
        _print_studies()
        return WRONG_REQUEST  # nothing was asked for
    if isinstance(request, MapRequest):
        from deepen.cli.commands.study_map import run_map  # imports torch, for seconds

        return run_map(request)
    from deepen.cli.commands.running import run_study  # imports torch, for seconds
    from deepen.cli.output.results_table import print_results
    from deepen.study.run.errors import Interrupted

    try:
        results = run_study(request, world)
    except Interrupted as interrupted:
        if interrupted.results is not None and not request.as_json:
            print_results(interrupted.results, request.folder)
        raise
    if request.as_json:
        print(json.dumps([verdict.to_json() for verdict in results.verdicts], indent=1))
    else:
        print_results(results, request.folder)
    return 0


def _print_studies() -> None:
    rows = []
    for name, make in STUDIES.items():
        study, summary = make(), (inspect.getdoc(make) or "").split("\n\n")[0]
        arms = ", ".join(arm.name for arm in study.arms)
        rows.append((name, f"{summary}\nArms: {arms}", study.model.name, short(study.tokens)))
    models = ", ".join(model.name for model in DEFAULT_MODELS)
    rows.append((MAP, "A study like fair for each of several models: where growing pays.", models, ""))
    print_table("deepen study NAME", (text("name"), text("what"), text("model"), numbers("tokens")), rows)
    print_sentences([
        "A Python file that assigns a deepen.Study to `study` is a study too: deepen study mine.py",
        "deepen study --help lists the options, docs/studies.md explains how to write a study.",
    ])  # fmt: skip
