"""Options of commands that train or plan training: budget, learning rate, settings of a step, folder."""

import os
from dataclasses import replace
from pathlib import Path

from deepen.cli.requests.command import Option
from deepen.cli.requests.parser import Arguments
from deepen.cli.requests.value_types import FOLDER, MAX_NAME_BYTES, number, one_of, whole_number
from deepen.interop.trackers import TRACKERS
from deepen.schedule.rate import RATES
from deepen.study.store.retention import RETENTION_POLICIES
from deepen.train.optim.spec import STATE_PRECISIONS
from deepen.train.settings import AUTO, COMPILE, ON_SPIKE, PRECISIONS, TrainSettings

RUNS_FOLDER = "deepen-runs"
"""Where results go, below the current folder, when --out is left out."""

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

LR_OPTION = Option(
    name="lr",
    takes=number("RATE"),
    help="peak learning rate",
    default_help="what models of the size take",
    fields=("peak",),
)
RATE_OPTION = Option(name="rate", takes=one_of(RATES), help="shape of the learning rate", default_help="wsd")

PRECISION_OPTION = Option(
    name="precision",
    takes=one_of((*PRECISIONS, AUTO)),
    help="fp32, bf16, or auto: the faster one on this machine, found by a few steps",
    default_help="fp32",
)
COMPILE_OPTION = Option(name="compile", takes=one_of(COMPILE), help="compile each block", default_help="no")
MOMENT_PRECISION_OPTION = Option(
    name="moment-precision",
    takes=one_of(STATE_PRECISIONS),
    help="precision of AdamW's moments between steps: fp32, or bf16 for half the memory",
    default_help="fp32",
    fields=("state_precision",),
)
SPIKE_OPTION = Option(
    name="on-spike",
    takes=one_of(ON_SPIKE),
    help="after a step whose loss jumps: warn, skip its update, or stop",
    default_help="warn",
)
CHECKPOINTING_OPTION = Option(
    name="activation-checkpointing",
    help="store only the input of each block and run it forward twice: less memory, more FLOPs",
)
SHARD_OPTION = Option(
    name="shard", help="under torchrun: divide weights, gradients and moments among its processes"
)

OUT_OPTION = Option(
    name="out",
    short="-o",
    takes=FOLDER,
    help="folder of the results",
    default_help=f"one in {RUNS_FOLDER}/ here",
    fields=("folder",),
)
KEEP_OPTION = Option(
    name="keep",
    takes=one_of(RETENTION_POLICIES),
    help="states to keep on disk. "
    + "; ".join(f"{name}: {kept.help}" for name, kept in RETENTION_POLICIES.items()),
    default="last",
)
VERIFY_OPTION = Option(name="verify", help="first hash every byte of the states that exist")
TRACK_OPTION = Option(
    name="track",
    takes=one_of(TRACKERS),
    help="show the runs in this tracker too, while they are trained; may be given more than once",
    default_help="none",
    repeats=True,
)
JSON_OPTION = Option(name="json", help="print the result as JSON")

_SETTINGS = ("precision", "compile", "on_spike", "activation_checkpointing")


def parse_settings(arguments: Arguments, settings: TrainSettings) -> TrainSettings:
    """The settings of a step with what a command line changes of them."""
    changed = replace(settings, **arguments.given(_SETTINGS))
    if "moment_precision" not in arguments:
        return changed
    return replace(changed, optimizer=replace(changed.optimizer, state_precision=arguments["moment_precision"]))


def parse_tokens(arguments: Arguments, batch_tokens: int, default: int) -> int:
    """The budget in tokens."""
    if "tokens" in arguments and "steps" in arguments:
        arguments.add("--tokens and --steps both set the budget: give one of them")
    if "steps" in arguments:
        return int(arguments["steps"]) * batch_tokens
    return arguments.get("tokens", default)


def parse_folder(arguments: Arguments, name: str) -> Path:
    """The folder of the results: the one that is asked for, or the one of this name in RUNS_FOLDER."""
    if "out" in arguments:
        return Path(arguments["out"])
    if Path(name).name != name or name == ".." or len(os.fsencode(name)) > MAX_NAME_BYTES:
        arguments.add(f"{name!r} cannot name a folder in {RUNS_FOLDER}/: name one with --out")
    return Path(RUNS_FOLDER) / name


def check_shard(arguments: Arguments, *, distributed: bool) -> None:
    """Add a problem where a model is to be divided and there is no other process."""
    if "shard" in arguments and not distributed:
        arguments.add(
            "--shard divides a model among processes, but this is the only one: "
            "start them with torchrun --nproc-per-node=N -m deepen ..."
        )
