"""The checkpoint that a command is about: its argument CKPT, and which run of a study it means."""

from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointChoice:
    """The checkpoint that a command line names."""

    path: Path
    arm: str | None
    seed: int | None

    def find(self) -> Checkpoint:
        """The checkpoint; see `find_checkpoint`."""
        return find_checkpoint(self.path, arm=self.arm, seed=self.seed)


def parse_checkpoint(arguments: Arguments) -> CheckpointChoice:
    """The checkpoint that a command line names; what is wrong with it becomes a problem."""
    choice = CheckpointChoice(
        path=Path(arguments.argument), arm=arguments.values.get("arm"), seed=arguments.values.get("seed")
    )
    if arguments.argument:
        arguments.attempt(choice.find)
    return choice


def parse_start(arguments: Arguments) -> Checkpoint | None:
    """The checkpoint from which training begins; None if there is none, or it cannot be used."""
    if "from" not in arguments:
        for option in START_OPTIONS[1:]:
            if option.key in arguments:
                arguments.add(f"{option.flag} is given without --from: name the study with --from")
        return None
    choice = CheckpointChoice(
        path=arguments["from"], arm=arguments.values.get("from_arm"), seed=arguments.values.get("from_seed")
    )
    return arguments.attempt(choice.find)
