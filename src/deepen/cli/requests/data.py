"""`deepen data ACTION ...`: text becomes token shards; shards are checked and described."""

from collections.abc import Sequence

from deepen.cli.requests import data_info, data_prepare, data_verify
from deepen.cli.requests.command import Command
from deepen.cli.requests.data_info import InfoRequest
from deepen.cli.requests.data_prepare import PrepareRequest
from deepen.cli.requests.data_verify import VerifyRequest
from deepen.cli.requests.parser import HelpRequestedError, RequestError
from deepen.errors import join_or, nearest

_ACTIONS = {"prepare": data_prepare, "verify": data_verify, "info": data_info}

DataRequest = PrepareRequest | VerifyRequest | InfoRequest

COMMAND = Command(
    name="data",
    about="Make token shards of text, for --data of the commands that train; verify and describe shards.",
    actions=tuple(action.COMMAND for action in _ACTIONS.values()),
    examples=tuple(example for action in _ACTIONS.values() for example in action.COMMAND.examples),
)


def parse(argv: Sequence[str]) -> DataRequest:
    """Parse the command line."""
    name = argv[0] if argv else ""
    if name in ("-h", "--help"):
        raise HelpRequestedError(COMMAND)
    if name not in _ACTIONS:
        wrong = f"{name!r} is unknown{nearest(name, _ACTIONS)}" if argv else "is missing"
        raise RequestError([f"ACTION {wrong}: use {join_or(_ACTIONS)}"])
    request: DataRequest = _ACTIONS[name].parse(argv[1:])
    return request
