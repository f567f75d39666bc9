"""The checkpoint that a command is about: its argument CKPT, and which run of a study it means."""

from pathlib import Path

from deepen.cli.requests.command import Argument, Option, OptionGroup
from deepen.cli.requests.parser import Arguments
from deepen.cli.requests.value_types import FOLDER, TEXT, Completion, number, whole_number
from deepen.interop.checkpoint import Checkpoint
from deepen.study.store.checkpoints import find_checkpoint

CHECKPOINT_ARGUMENT = Argument(
    metavar="CKPT",
    help="folder of a run or a study, of a state in it, of a grown checkpoint, or in Hugging Face's format",
    completion=Completion.FOLDERS,
    fields=("checkpoint",),
)

WHICH_RUN = OptionGroup(
    title="Which run of a study",
    options=(
        Option(name="arm", takes=TEXT, help="its arm, by name", default_help="the only one"),
        Option(name="seed", takes=whole_number("SEED"), help="its seed", default_help="the only one"),
    ),
)

SHARD_SIZE_OPTION = Option(
    name="shard-size",
    takes=number("GB", maximum=1e6),
    help="size of a file of tensors in Hugging Face's format, a number of GB",
    default=5.0,
)

START_OPTIONS = (
    Option(
        name="from",
        takes=FOLDER,
        help="checkpoint from which training begins, instead of --model: the folder of a run, a state or a grown "
        "checkpoint, whose moments are kept, or one in Hugging Face's format",
        default_help="none: fresh weights",
        fields=("start", "checkpoint"),
    ),
    Option(
        name="from-arm",
        takes=TEXT,
        help="arm of that study, where it has several",
        default_help="the only one",
        fields=("arm",),
    ),
    Option(
        name="from-seed",
        takes=whole_number("SEED"),
        help="seed of that run, where the study has several",
        default_help="the only one",
        fields=("seed",),
    ),
)
"""The checkpoint from which `deepen train` begins; `--seed` is the seed of the new run."""


def parse_checkpoint(arguments: Arguments) -> Checkpoint | None:
    """The checkpoint that a command line names; None if it cannot be used, which becomes a problem."""
    if not arguments.argument:
        return None
    return _find(arguments, Path(arguments.argument), arm="arm", seed="seed")


def parse_start(arguments: Arguments) -> Checkpoint | None:
    """The checkpoint from which training begins; None if there is none, or it cannot be used."""
    if "from" not in arguments:
        for option in START_OPTIONS[1:]:
            if option.key in arguments:
                arguments.add(f"{option.flag} is given without --from: name the study with --from")
        return None
    return _find(arguments, arguments["from"], arm="from_arm", seed="from_seed")


def _find(arguments: Arguments, path: Path, *, arm: str, seed: str) -> Checkpoint | None:
    """The checkpoint at a path; `arm` and `seed` are keys of the options that choose a run."""
    return arguments.attempt(
        lambda: find_checkpoint(path, arm=arguments.values.get(arm), seed=arguments.values.get(seed))
    )
