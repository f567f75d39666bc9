"""Command lines: what is given, what is left out, and every problem at once."""

import pytest

from deepen.cli.requests.command import Argument, Command, Option, OptionGroup
from deepen.cli.requests.parser import Arguments, RequestError, first_argument, parse_arguments
from deepen.cli.requests.value_types import FILE, number, one_of, some_of, whole_number
from deepen.errors import InvalidValueError, InvalidValuesError

COMMAND = Command(
    name="grow",
    about="",
    argument=Argument(metavar="PLANT", help="", names=("oak", "beech")),
    groups=(
        OptionGroup(
            title="",
            options=(
                Option(name="batch-tokens", takes=whole_number(minimum=1), help="", default=7),
                Option(name="rate", takes=number(), help="", fields=("peak",)),
                Option(name="colour", takes=one_of(("green", "red")), help=""),
                Option(name="tools", takes=some_of(("spade", "rake")), help=""),
                Option(name="note", takes=FILE, help="", repeats=True, short="-n"),
                Option(name="wet", help=""),
            ),
        ),
    ),
)


def problems(*argv: str) -> list[str]:
    return parse_arguments(COMMAND, argv).problems


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("1_000", 1000),
        ("1e6", 10**6),
        ("20k", 20_000),
        ("5M", 5 * 10**6),
        ("10B", 10**10),
        ("4.1M", 4_100_000),
    ],
)
def test_whole_numbers_are_read_as_people_write_them(text: str, value: int):
    assert parse_arguments(COMMAND, ["oak", "--batch-tokens", text])["batch_tokens"] == value


def test_options_stand_before_or_after_the_argument_and_with_an_equals_sign():
    for line in ("--rate 0.1 oak --wet", "oak --rate=0.1 --wet", "--wet --rate=1e-1 oak"):
        arguments = parse_arguments(COMMAND, line.split())
        assert (arguments.argument, arguments["rate"], "wet" in arguments) == ("oak", 0.1, True)
        assert not arguments.problems


def test_what_is_left_out_has_its_default_and_the_last_of_two_counts():
    arguments = parse_arguments(COMMAND, ["oak", "--colour", "red", "--colour", "green"])
    assert arguments["batch_tokens"] == 7 and "batch_tokens" not in arguments
    assert arguments["colour"] == "green" and arguments["wet"] is None
    assert arguments.get("rate", 3.0) == 3.0


def test_an_option_that_repeats_gives_all_its_values():
    arguments = parse_arguments(COMMAND, ["oak", "--note", "a", "--note", "b", "--tools", "rake, spade,rake"])
    assert [str(path) for path in arguments["note"]] == ["a", "b"]
    assert arguments["tools"] == ("rake", "spade")


def test_a_value_may_begin_with_a_dash_but_not_with_two():
    assert problems("oak", "--rate", "-1") == ["--rate is -1: it must be above 0 and at most 1e+30"]
    assert problems("oak", "--rate", "--wet") == ["--rate has no value: write --rate X"]
    assert problems("oak", "--rate") == ["--rate has no value: write --rate X"]
    for value in ("-1e-3", "-x", "-inf"):
        (only,) = problems("oak", "--rate", value)
        assert only.startswith((f"--rate is {value}: ", f"--rate is {value!r}: "))


@pytest.mark.parametrize("words", (["-n", "a"], ["-na"], ["--note", "a"]))
def test_an_option_can_have_a_short_form(words: list[str]):
    arguments = parse_arguments(COMMAND, ["oak", *words, "--colour", "-1"])
    assert [str(path) for path in arguments["note"]] == ["a"]
    assert arguments.problems == ["--colour '-1' is unknown: use green or red"]
    assert problems("oak", "-n") == ["--note has no value: write --note FILE"]


def test_words_after_two_dashes_are_arguments():
    arguments = parse_arguments(COMMAND, ["--", "--wet"])
    assert arguments.argument == "--wet" and "wet" not in arguments


def test_an_unknown_option_does_not_make_its_value_an_argument():
    assert problems("--colr", "red", "oak") == [
        "option --colr is unknown (did you mean '--colour'?): see deepen grow --help"
    ]
    (only,) = problems("--wett", "oak")  # the oak may be its value: then no argument is said to be missing
    assert only.startswith("option --wett is unknown (did you mean '--wet'?)")
    assert parse_arguments(COMMAND, ["--wett", "--rate", "1", "oak"]).argument == "oak"


def test_an_option_is_not_shortened():
    assert problems("oak", "--rat", "1") == [
        "option --rat is unknown (did you mean '--rate'?): see deepen grow --help"
    ]


def test_every_problem_is_found_at_once():
    assert problems("oak", "beech", "--rate", "x", "--colour", "gren", "--wet=1", "-v") == [
        "--rate is 'x': it must be a number",
        "--colour 'gren' is unknown (did you mean 'green'?): use green or red",
        "--wet takes no value: write --wet alone",
        "option -v is unknown: see deepen grow --help",
        "'beech' is one argument too many: see deepen grow --help",
    ]
    assert problems("--batch-tokens", "0") == [
        "--batch-tokens is 0: it must be at least 1",
        "PLANT is missing: use oak or beech",
    ]


def test_errors_of_the_library_name_options_where_the_command_has_them():
    def fail(*errors: ValueError) -> None:
        raise InvalidValuesError(errors)

    arguments = Arguments(COMMAND)
    remedy = "use `batch_tokens` 128, or `depth` 3"
    field = InvalidValueError("is 100", field="batch_tokens", value=100, remedy=remedy)
    other = InvalidValueError("is 0", field="peak", value=0)
    name = InvalidValueError("'oka' is unknown", field="plant", value="oka", allowed=("oak", "beech"))
    assert arguments.attempt(lambda: fail(field, other, name, ValueError("one\ntwo"))) is None
    assert arguments.problems == [
        "--batch-tokens is 100: use --batch-tokens 128, or depth 3",
        "--rate is 0",
        "PLANT 'oka' is unknown (did you mean 'oak'?)",
        "one",
        "two",
    ]
    with pytest.raises(RequestError) as raised:
        arguments.check()
    assert list(raised.value.problems) == arguments.problems


def test_the_first_argument_is_found_before_the_options_are_known():
    options = tuple(COMMAND.options)
    assert first_argument(["--rate", "oak", "beech"], options) == "beech"
    assert first_argument(["--wet", "oak"], options) == "oak"
    assert first_argument(["--wet=1", "--rate", "-2", "--", "oak"], options) == "oak"
    assert first_argument(["--rate"], options) == ""
