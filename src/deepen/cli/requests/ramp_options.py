"""Options of ramps: batch and context along a run."""

from dataclasses import replace

from deepen.cli.requests.command import Option, as_flag
from deepen.cli.requests.parser import Arguments
from deepen.cli.requests.value_types import ValueType, whole_number
from deepen.schedule.ramp import Ramp
from deepen.study.define.study import Arm


def read_ramp(text: str) -> Ramp:
    """A ramp such as 0:131072,0.25:524288."""
    tokens = whole_number(minimum=1)
    pairs = [step.split(":") for step in text.split(",")]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"is {text!r}: write share:tokens pairs, 0:256,0.5:1024")
    try:
        return Ramp(steps=tuple((float(share), tokens.read(value)) for share, value in pairs))
    except ValueError as error:
        raise ValueError(f"is {text!r}: write share:tokens pairs, 0:256,0.5:1024 ({error})") from None


_RAMP = ValueType(metavar="RAMP", read=read_ramp)

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


def check_ramps(arguments: Arguments) -> None:
    """Add a problem where a ramp and an option set the same."""
    for name, option in (("batch", "batch_tokens"), ("context", "context")):
        if f"{name}_ramp" in arguments and option in arguments:
            arguments.add(f"--{name}-ramp and {as_flag(option)} both set the {name}: give one of them")


def has_ramps(arguments: Arguments) -> bool:
    """Whether a command line has a ramp."""
    return any(option.key in arguments for option in RAMP_OPTIONS)


def add_ramps(arguments: Arguments, arm: Arm) -> Arm:
    """The arm with the ramps of a command line, and a name that says so; the arm itself if there are none."""
    if not has_ramps(arguments):
        return arm
    ramps = arguments.given([option.key for option in RAMP_OPTIONS])
    return replace(arm, name=f"{arm.name} with ramp", **ramps)
