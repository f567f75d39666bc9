"""`deepen train RECIPE`: train one arm, in the same kind of folder as a study."""

import json

from deepen.cli.commands.running import run_study
from deepen.cli.output.results_table import print_arm
from deepen.cli.requests.run_request import RunRequest
from deepen.train.distributed.processes import World


def run(request: RunRequest, world: World | None = None) -> int:
    """Train the arm and print where it ended."""
    results = run_study(request, world)
    (arm,) = results.arms
    if request.as_json:
        print(json.dumps([mark.to_json() for mark in arm.marks], indent=1))
    else:
        print_arm(arm, request.folder)
    return 0
