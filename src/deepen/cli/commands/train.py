"""`deepen train RECIPE`: train one arm, in the same kind of folder as a study."""

import json

from deepen.cli.commands import study
from deepen.cli.commands.running import run_study
from deepen.cli.output.results_table import print_arm
from deepen.cli.requests.run_request import RunRequest
from deepen.study.run.errors import Interrupted
from deepen.train.distributed.processes import World


def run(request: RunRequest, world: World | None = None) -> int:
    """Train the arm and print where it ended, or how far it is if it is interrupted; several runs are a study."""
    if request.study.runs > 1:
        return study.run(request, world)
    try:
        results = run_study(request, world)
    except Interrupted as interrupted:
        if interrupted.results is not None and not request.as_json:
            print_arm(interrupted.results, request.folder)
        raise
    if request.as_json:
        (arm,) = results.arms
        print(json.dumps([mark.to_json() for mark in arm.marks], indent=1))
    else:
        print_arm(results, request.folder)
    return 0
