"""Options of the optimizer: which one, and how its moments are stored."""

from dataclasses import replace

from deepen.cli.requests.command import Option
from deepen.cli.requests.parser import Arguments
from deepen.cli.requests.value_types import one_of
from deepen.train.optim.spec import OPTIMIZERS, STATE_PRECISIONS, OptimizerSpec

OPTIMIZER_OPTION = Option(
    name="optimizer",
    takes=one_of(OPTIMIZERS),
    help="adamw, or muon for the matrices of the blocks and AdamW for the rest",
    default_help="adamw",
)
MOMENT_PRECISION_OPTION = Option(
    name="moment-precision",
    takes=one_of(STATE_PRECISIONS),
    help="precision of AdamW's moments between steps: fp32, or bf16 for half the memory",
    default_help="fp32",
    fields=("state_precision",),
)


def parse_optimizer(arguments: Arguments, optimizer: OptimizerSpec) -> OptimizerSpec:
    """The optimizer with what a command line changes of it; another kind keeps the options that both have."""
    kind = arguments.get("optimizer", optimizer.kind)
    changed = optimizer if kind == optimizer.kind else optimizer.as_kind(kind)
    if "moment_precision" in arguments:
        changed = replace(changed, state_precision=arguments["moment_precision"])
    return changed
