"""Scripts that complete deepen's commands in bash, zsh and fish, made from the tables of the commands.

Nothing is asked of deepen while a shell completes: the scripts contain all names, so that completion is instant.
"""

from collections.abc import Iterator, Mapping, Sequence
from shlex import quote

from deepen.cli.requests.command import Argument, Command, Option
from deepen.cli.requests.value_types import Completion


def render_bash(summaries: Mapping[str, str], commands: Sequence[Command]) -> str:
    """A script for bash 3.2 and later."""
    lines = [
        "# completion of deepen in bash; load it with: source <(deepen completion bash)",
        "_deepen() {",
        '    local word="${COMP_WORDS[COMP_CWORD]}" option="${COMP_WORDS[COMP_CWORD - 1]}"',
        '    local command="${COMP_WORDS[1]}" position=$COMP_CWORD names="" files=""',
        "    COMPREPLY=()",
        '    [[ $word == "=" ]] && word=""  # --option=VALUE is three words here',
        '    [[ $option == "=" ]] && option="${COMP_WORDS[COMP_CWORD - 2]}"',
    ]
    for command in commands:
        if command.actions:
            action = f'command="{command.name} ${{COMP_WORDS[2]}}"'
            lines.append(f"    [[ $command == {command.name} ]] && (( position > 2 )) && {action}")
    lines += [
        "    if (( position == 1 )); then",
        f"        names={quote(' '.join((*summaries, '--help', '--version')))}",
        "    else",
        '        case "$command $option" in',
    ]
    for command in _leaves(commands):
        for option in command.options:
            if option.takes is not None:
                values = _bash_values(option.takes.names, option.takes.completion)
                lines.append(f"        {quote(f'{command.name} {option.flag}')}) {values} ;;")
    lines += ["        *)", '            case "$command" in']
    for command in _with_actions(commands):
        if command.actions:
            lines.append(f"            {quote(command.name)}) names={quote(' '.join(_action_names(command)))} ;;")
            continue
        flags = " ".join((*(option.flag for option in command.options), "--help"))
        lines += [
            f"            {quote(command.name)})",
            f"                if [[ $word == -* ]]; then names={quote(flags)}",
            f"                else {_bash_argument(command.argument)}",
            "                fi ;;",
        ]
    lines += [
        "            esac ;;",
        "        esac",
        "    fi",
        "    local IFS=$'\\n'",
        '    [[ -n $names ]] && COMPREPLY=($(IFS=" "; compgen -W "$names" -- "$word"))',
        "    if [[ -n $files ]]; then",
        '        COMPREPLY+=($(compgen "$files" -- "$word"))',
        "        compopt -o filenames 2>/dev/null",
        "    fi",
        "}",
        "complete -F _deepen deepen",
    ]
    return "\n".join(lines)


def _bash_values(names: Sequence[str], completion: Completion) -> str:
    words = [f"names={quote(' '.join(names))}"] if names else []
    files = {Completion.FILES: ["files=-f"], Completion.FOLDERS: ["files=-d"], Completion.NOTHING: []}[completion]
    return " ".join(words + files) or ":"


def _bash_argument(argument: Argument | None) -> str:
    if argument is None:
        return ":"
    return _bash_values((*argument.names, *argument.suggested), argument.completion)


def render_zsh(summaries: Mapping[str, str], commands: Sequence[Command]) -> str:
    """A script for zsh, to be loaded after compinit or placed in a folder of `fpath` as `_deepen`."""
    lines = [
        "#compdef deepen",
        "# completion of deepen in zsh; load it with: source <(deepen completion zsh)",
        "_deepen() {",
        "    local context state state_descr line",
        "    typeset -A opt_args",
        "    _arguments -C '--help[show help]' '--version[show the version]' \\",
        "        '1:command:->command' '*::word:->word'",
        "    case $state in",
        f"    command) {_zsh_describe('command', summaries)} ;;",
        "    word)",
        "        case $words[1] in",
    ]
    for command in commands:
        lines.append(f"        {command.name})")
        if command.actions:
            actions = dict(zip(_action_names(command), (action.about for action in command.actions), strict=True))
            lines += [
                "            _arguments -C '1:action:->action' '*::word:->action_word'",
                "            case $state in",
                f"            action) {_zsh_describe('action', actions)} ;;",
                "            action_word)",
                "                case $words[1] in",
                *(
                    f"                {name}) {_zsh_arguments(action)} ;;"
                    for name, action in zip(actions, command.actions, strict=True)
                ),
                "                esac ;;",
                "            esac ;;",
            ]
        else:
            lines.append(f"            {_zsh_arguments(command)} ;;")
    lines += [
        "        esac ;;",
        "    esac",
        "}",
        'if [[ $funcstack[1] == _deepen ]]; then _deepen "$@"; else compdef _deepen deepen; fi',
    ]
    return "\n".join(lines)


def _zsh_describe(tag: str, summaries: Mapping[str, str]) -> str:
    entries = " ".join(quote(f"{name}:{summary}") for name, summary in summaries.items())
    return f"local -a choices=({entries}); _describe {tag} choices"


def _zsh_arguments(command: Command) -> str:
    specs = [_zsh_option(option) for option in command.options]
    if command.argument is not None:
        names = (*command.argument.names, *command.argument.suggested)
        specs.append(f"1:{command.argument.metavar}:{_zsh_values(names, command.argument.completion)}")
    return " ".join(["_arguments", *map(quote, (*specs, "--help[show help]"))])


def _zsh_option(option: Option) -> str:
    help_text = option.help
    for special in "\\[]:":
        help_text = help_text.replace(special, f"\\{special}")
    spec = f"{option.flag}[{help_text}]"
    if option.takes is None:
        return spec
    return f"{spec}:{option.takes.metavar}:{_zsh_values(option.takes.names, option.takes.completion)}"


def _zsh_values(names: Sequence[str], completion: Completion) -> str:
    if completion is Completion.NOTHING:
        return f"({' '.join(names)})" if names else " "
    files = "_files -/" if completion is Completion.FOLDERS else "_files"
    if not names:
        return files
    # The leading space calls _alternative with these words alone.
    return rf" _alternative 'names\:name\:({' '.join(names)})' 'files\:file\:{files}'"


def render_fish(summaries: Mapping[str, str], commands: Sequence[Command]) -> str:
    """A script for fish 3 and later."""
    lines = [
        "# completion of deepen in fish; load it with: deepen completion fish | source",
        "complete -c deepen -f",
        "complete -c deepen -n __fish_use_subcommand -l version -d 'show the version'",
        "complete -c deepen -l help -d 'show help'",
    ]
    for name, summary in summaries.items():
        lines.append(f"complete -c deepen -n __fish_use_subcommand -a {name} -d {_fish_quote(summary)}")
    for command in commands:
        names = _action_names(command)
        chosen = f"__fish_seen_subcommand_from {command.name}"
        for name, action in zip(names, command.actions, strict=True):
            condition = f"{chosen}; and not __fish_seen_subcommand_from {' '.join(names)}"
            lines.append(_fish_line(condition, f"-a {name} -d {_fish_quote(action.about)}"))
            lines += _fish_command(action, f"{chosen}; and __fish_seen_subcommand_from {name}")
        if not command.actions:
            lines += _fish_command(command, chosen)
    return "\n".join(lines)


def _fish_command(command: Command, condition: str) -> Iterator[str]:
    argument = command.argument
    if argument is not None:
        values = _fish_values((*argument.names, *argument.suggested), argument.completion)
        yield _fish_line(condition, values)
    for option in command.options:
        rest = f"-l {option.name} -d {_fish_quote(option.help)}"
        if option.takes is not None:
            rest += f" -x {_fish_values(option.takes.names, option.takes.completion)}"
        yield _fish_line(condition, rest.rstrip())


def _fish_line(condition: str, rest: str) -> str:
    return f"complete -c deepen -n {_fish_quote(condition)} {rest}"


def _fish_values(names: Sequence[str], completion: Completion) -> str:
    words = list(names)
    if completion is Completion.FILES:
        words.append("(__fish_complete_path)")
    elif completion is Completion.FOLDERS:
        words.append("(__fish_complete_directories)")
    return f"-a {_fish_quote(' '.join(words))}" if words else ""


def _fish_quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _leaves(commands: Sequence[Command]) -> Iterator[Command]:
    """The commands that have options: actions in place of the commands they belong to."""
    return (each for each in _with_actions(commands) if not each.actions)


def _with_actions(commands: Sequence[Command]) -> Iterator[Command]:
    for command in commands:
        yield command
        yield from command.actions


def _action_names(command: Command) -> list[str]:
    return [action.name.removeprefix(f"{command.name} ") for action in command.actions]
