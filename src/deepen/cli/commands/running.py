"""What `study` and `train` do alike: run a study and show how far it is."""

from deepen import api
from deepen.cli.output.progress import show_progress
from deepen.cli.requests.run_request import RunRequest
from deepen.study.results.schema import Results
from deepen.train.distributed.processes import World


def run_study(request: RunRequest, world: World | None) -> Results:
    """Run the study of a request to its end; returns its results."""
    with show_progress(request.study.name) as on_progress:
        return api.run(
            request.study,
            request.folder,
            executor=request.executor,
            threads=request.threads,
            keep=request.keep,
            verify=request.verify,
            shard=request.shard,
            track=request.track,
            command=request.command_line,
            on_progress=on_progress,
            world=world,
        )
