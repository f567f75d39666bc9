"""`--executor`: KIND, KIND:FIRST or KIND:FIRST,key=value,... becomes an `ExecutorChoice`."""

from deepen.cli.requests.options import Option, Request, whole
from deepen.errors import InvalidValueError
from deepen.study.define.executor import EXECUTORS, ExecutorChoice, local

JOBS_OPTION = Option(
    name="jobs",
    read=whole(1, 1024),
    help="segments trained at once here, short for --executor local:N (default: one a core, or one a GPU)",
)


def read_executor(text: str) -> ExecutorChoice:
    """Read `--executor`; a ValueError says what is wrong, without the option's name."""
    try:
        return ExecutorChoice.parse(text)
    except InvalidValueError as error:
        raise ValueError(error.problem) from None


EXECUTOR_OPTION = Option(
    name="executor",
    read=read_executor,
    help="where segments are trained; " + "; ".join(f"{name}: {what}" for name, what in EXECUTORS.items()),
)


def executor_of(request: Request) -> ExecutorChoice:
    """The executor that a request asks for; --jobs N is --executor local:N."""
    jobs, given = request.get("jobs"), request.get("executor")
    if jobs is None:
        return given or ExecutorChoice()
    if given is not None and given not in (local(jobs), ExecutorChoice()):
        request.problems.append(
            f"--jobs {jobs} is short for --executor local:{jobs} and contradicts the --executor that is given: "
            "leave out --jobs (slurm has slurm:jobs=N; dask takes all of its workers)"
        )
    return local(jobs)
