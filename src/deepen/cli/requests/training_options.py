"""Options of a training step: precision, memory, what to do after a spike."""

from dataclasses import replace

from deepen.cli.requests.command import Option
from deepen.cli.requests.optimizer_options import parse_optimizer
from deepen.cli.requests.parser import Arguments
from deepen.cli.requests.value_types import one_of, whole_number
from deepen.train.settings import (
    AUTO,
    COMPILE,
    ON_SPIKE,
    PRECISIONS,
    WITHIN_NODE,
    TrainSettings,
    check_cuda_graphs,
)

PRECISION_OPTION = Option(
    name="precision",
    takes=one_of((*PRECISIONS, AUTO)),
    help="fp32, bf16, or auto: the faster one on this machine, found by a few steps",
    default_help="fp32",
)
COMPILE_OPTION = Option(
    name="compile",
    takes=one_of(COMPILE),
    help="compile each block (auto: on a GPU; max-autotune: try more kernels; cuda-graphs: in one launch)",
    default_help="auto",
)
SPIKE_OPTION = Option(
    name="on-spike",
    takes=one_of(ON_SPIKE),
    help="after a step whose loss jumps: warn, skip its update, or stop",
    default_help="warn",
)
CHECKPOINTING_OPTION = Option(
    name="activation-checkpointing",
    takes=one_of(("no",), "no"),
    bare=True,
    help="store only the input of each block and run it forward twice: less memory, more FLOPs; no: never",
    default_help="where a step would not fit into a GPU otherwise",
    fields=("activation_checkpointing", "checkpoint_to_fit"),
)
MICRO_BATCH_OPTION = Option(
    name="micro-batch-tokens",
    takes=whole_number("TOKENS", minimum=1),
    help="tokens that a device computes at once, in whole sequences: fewer take less memory, more are faster",
    default_help="on a GPU up to 64 sequences, as half of its memory allows; else 1 GiB of logits",
)
SHARD_OPTION = Option(
    name="shard",
    takes=one_of((WITHIN_NODE,), "node"),
    bare=True,
    help="under torchrun: divide weights, gradients and moments among its processes; with node, among those of "
    "each machine, so that every machine has a copy",
    default_help="a whole copy in each process",
)

REDUCE_OPTION = Option(
    name="reduce-gradients",
    takes=one_of(("once", "each"), "WHEN"),
    help="with --shard: send gradients once in a step, which takes memory for all of them, or in each micro-batch",
    default_help="once on GPUs that have the memory, else each",
    fields=("reduce_once",),
)

_SETTINGS = ("precision", "compile", "on_spike", "micro_batch_tokens")
"""Keys of the options that are called as the field of `TrainSettings` that they set."""


def parse_settings(arguments: Arguments, settings: TrainSettings) -> TrainSettings:
    """The settings of a step with what a command line changes of them."""
    changed = replace(settings, **arguments.given(_SETTINGS))
    if "activation_checkpointing" in arguments:
        always = wants_checkpointing(arguments)
        changed = replace(changed, activation_checkpointing=always, checkpoint_to_fit=always)
    if "reduce_gradients" in arguments:
        changed = replace(changed, reduce_once=parse_reduction(arguments))
    check_cuda_graphs(changed, sharded="shard" in arguments)
    return replace(changed, optimizer=parse_optimizer(arguments, changed.optimizer))


def wants_checkpointing(arguments: Arguments) -> bool:
    """Whether blocks are to run forward twice in any case."""
    return arguments.get("activation_checkpointing", default="no") != "no"


def parse_reduction(arguments: Arguments) -> bool | None:
    """`TrainSettings.reduce_once`: whether gradients are to be sent once in a step; None where memory decides."""
    return arguments["reduce_gradients"] == "once" if "reduce_gradients" in arguments else None


def check_reduction(arguments: Arguments) -> None:
    """Add a problem where gradients are to be sent in a way that only divided models have."""
    if "reduce_gradients" in arguments and "shard" not in arguments:
        arguments.add("--reduce-gradients is of models that --shard divides: add it, or leave this out")


def check_shard(arguments: Arguments, *, distributed: bool) -> None:
    """Add a problem where a model is to be divided and there is no other process, or not, with its options."""
    check_reduction(arguments)
    if "shard" in arguments and not distributed:
        arguments.add(
            "--shard divides a model among processes, but this is the only one: "
            "start them with torchrun --nproc-per-node=N -m deepen ..."
        )
