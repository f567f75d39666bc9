"""Options of the length of a run, and of the size of its steps and sequences."""

from deepen.cli.requests.command import Option
from deepen.cli.requests.parser import Arguments
from deepen.cli.requests.value_types import whole_number

TOKENS_OPTION = Option(
    name="tokens",
    takes=whole_number("TOKENS", minimum=1),
    help="budget: the baseline's tokens; an arm gets the FLOPs of full training for them",
)
STEPS_OPTION = Option(
    name="steps", takes=whole_number("STEPS", minimum=1), help="the same in steps", default_help="none"
)
BATCH_OPTION = Option(
    name="batch-tokens",
    takes=whole_number("TOKENS", minimum=1, maximum=10**12),
    help="tokens of a step",
    default_help="what models of the size take",
)
CONTEXT_OPTION = Option(
    name="context",
    takes=whole_number("TOKENS", minimum=1, maximum=10**9),
    help="tokens of a sequence",
    default_help="the model's positions",
)


def parse_batch_tokens(arguments: Arguments, usual: int) -> int:
    """Tokens of a step: those asked for, the largest of a ramp, or the usual ones."""
    if "batch_ramp" in arguments:
        return int(arguments["batch_ramp"].largest)
    return arguments.get("batch_tokens", usual)


def parse_context(arguments: Arguments, usual: int) -> int:
    """Tokens of a sequence: those asked for, the largest of a ramp, or the usual ones."""
    if "context_ramp" in arguments:
        return int(arguments["context_ramp"].largest)
    return arguments.get("context", usual)


def parse_tokens(arguments: Arguments, batch_tokens: int, default: int) -> int:
    """The budget in tokens."""
    if "tokens" in arguments and "steps" in arguments:
        arguments.add("--tokens and --steps both set the budget: give one of them")
    if "steps" in arguments:
        return int(arguments["steps"]) * batch_tokens
    return arguments.get("tokens", default)
