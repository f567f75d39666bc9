"""`deepen study NAME`: run or continue a study, judge it, draw it."""

import json

from deepen.cli.commands.running import run_study
from deepen.cli.output.results_table import print_results
from deepen.cli.requests.run_request import RunRequest
from deepen.train.distributed.processes import World


def run(request: RunRequest, world: World | None = None) -> int:
    """Run the study and print its verdicts."""
    results = run_study(request, world)
    if request.as_json:
        print(json.dumps([verdict.to_json() for verdict in results.verdicts], indent=1))
    else:
        print_results(results, request.folder)
    return 0
