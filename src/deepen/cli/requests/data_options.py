"""Options of commands that read or make token shards: their folder, their tokenizer, the type of their tokens."""

from pathlib import Path

from deepen.cli.requests.command import Argument, Option, OptionGroup
from deepen.cli.requests.value_types import FOLDER, Completion, ValueType, one_of, read_text

DATA_OPTION = Option(
    name="data",
    takes=FOLDER,
    help="folder of token shards, or sotu, the embedded corpus",
    default=Path("sotu"),
)
TOKENIZER = ValueType(metavar="TOKENIZER", read=read_text, names=("gpt2", "byte"), completion=Completion.FILES)
TOKENIZER_OPTION = Option(
    name="tokenizer",
    takes=TOKENIZER,
    help="tokenizer that made the shards, where their folder has none: gpt2, byte, or the path of a "
    "tokenizer.json or of its folder",
    default_help="that of the folder",
)
DATA_DTYPE_OPTION = Option(
    name="data-dtype",
    takes=one_of(("uint16", "uint32")),
    help="type of the tokens in shards without a header, as nanoGPT and OLMo-core write them",
    default_help="what the header states",
)
SHARDS_ARGUMENT = Argument(metavar="DIR", help="folder of token shards", completion=Completion.FOLDERS)
SHARDS_GROUP = OptionGroup(title="Shards", options=(TOKENIZER_OPTION, DATA_DTYPE_OPTION))
