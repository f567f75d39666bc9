"""`--executor`, `--jobs` and `--threads`: where the segments of a study are trained."""

from deepen.cli.requests.command import Option
from deepen.cli.requests.parser import Arguments
from deepen.cli.requests.value_types import ValueType, whole_number
from deepen.errors import InvalidValueError
from deepen.study.define.executor import EXECUTORS, ExecutorChoice, local


def _read(text: str) -> ExecutorChoice:
    try:
        return ExecutorChoice.parse(text)
    except InvalidValueError as error:
        raise ValueError(error.problem) from None


EXECUTOR_OPTION = Option(
    name="executor",
    takes=ValueType(metavar="WHERE", read=_read, names=tuple(EXECUTORS)),
    help="; ".join(f"{name}: {summary}" for name, summary in EXECUTORS.items()),
    default_help="local",
)
JOBS_OPTION = Option(
    name="jobs",
    takes=whole_number(minimum=1, maximum=1024),
    help="number of segments trained at once on this machine, short for --executor local:N",
    default_help="one for each core, or for each GPU",
)
THREADS_OPTION = Option(
    name="threads",
    takes=whole_number(minimum=1, maximum=1024),
    help="number of CPU threads of each segment; a study keeps the number that it began with, because another "
    "rounds otherwise",
    default_help="an equal share of the cores, at most OMP_NUM_THREADS",
)


def parse_executor(arguments: Arguments) -> ExecutorChoice:
    """The executor that a command line asks for; --jobs N is --executor local:N."""
    executor: ExecutorChoice = arguments.get("executor", ExecutorChoice())
    if "jobs" not in arguments:
        return executor
    jobs = arguments["jobs"]
    if executor not in (local(jobs), ExecutorChoice()):
        arguments.add(
            f"--jobs {jobs} is short for --executor local:{jobs} and contradicts the --executor that is given: "
            "leave out --jobs (slurm has slurm:jobs=N; dask takes all of its workers)"
        )
    return local(jobs)
