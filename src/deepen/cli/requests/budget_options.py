"""Options of the length of a run, and of the size of its steps and sequences."""

from deepen.cli.requests.command import Option
from deepen.cli.requests.parser import Arguments
from deepen.cli.requests.value_types import ValueType, whole_number
from deepen.schedule.ramp import Ramp


def _read_ramp(text: str) -> Ramp:
    """A ramp such as 0:131072,0.25:524288."""
    tokens = whole_number(minimum=1)
    try:
        pairs = [step.split(":") for step in text.split(",")]
        return Ramp(steps=tuple((float(share), tokens.read(value)) for share, value in pairs))
    except ValueError as error:
        raise ValueError(f"is {text!r}: write share:tokens pairs, 0:256,0.5:1024 ({error})") from None


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

_RAMP = ValueType(metavar="RAMP", read=_read_ramp)

RAMP_OPTIONS = (
    Option(
        name="batch-ramp",
        takes=_RAMP,
        help="batch along the run, share:tokens: 0:131072,0.25:524288",
        default_help="none",
    ),
    Option(
        name="context-ramp",
        takes=_RAMP,
        help="context along the run, share:tokens: 0:256,0.5:1024",
        default_help="none",
    ),
)


def parse_tokens(arguments: Arguments, batch_tokens: int, default: int) -> int:
    """The budget in tokens."""
    if "tokens" in arguments and "steps" in arguments:
        arguments.add("--tokens and --steps both set the budget: give one of them")
    if "steps" in arguments:
        return int(arguments["steps"]) * batch_tokens
    return arguments.get("tokens", default)
