"""`deepen study map`: run or continue the studies of a map, one after the other, and draw it."""

import json
from dataclasses import replace
from pathlib import Path

from deepen.cli.commands.running import run_study
from deepen.cli.output.map_tables import print_map
from deepen.cli.requests.run_request import MapRequest
from deepen.report.map.draw import draw_map
from deepen.study.define.study import Study
from deepen.study.map import run_map as maps
from deepen.study.results.schema import Results
from deepen.study.run.errors import Interrupted


def run_map(request: MapRequest) -> int:
    """Run the map and print its cells, also if it is interrupted."""

    def train(study: Study, folder: Path) -> Results:
        return run_study(replace(request, study=study, folder=folder), None)

    try:
        found = maps.run_map(request.studies, request.folder, train, draw_map)
    except Interrupted:
        if maps.find_studies(request.folder) and not request.as_json:
            print_map(maps.collect_map(request.folder), request.folder)
        raise
    if request.as_json:
        print(json.dumps(found.to_json(), indent=1))
    else:
        print_map(found, request.folder)
    return 0
