"""Completion scripts for shells, made from a program's parser.

Static scripts, so that the Tab key starts no Python (most of a second on a small board), and made on the device by the
installed program itself, so that it needs no package for that and they never tell of options it does not have.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

#: Options whose values lie in the state that ``--state`` names; completed in bash.
_FROM_STATE = {"--class": "classes", "--to": "generations", "--from-generation": "generations"}
#: Reads names with shell tools, line by line: a class's name is never evaluated. JSON's escapes are passed over.
_BASH_FROM_STATE = r"""NAME_from_state() {
    local state="" i name
    for (( i = 1; i < ${#COMP_WORDS[@]} - 1; i++ )); do
        [[ ${COMP_WORDS[i]} == --state ]] || continue
        state="${COMP_WORDS[i+1]}"
        [[ $state == "=" ]] && state="${COMP_WORDS[i+2]}"
    done
    state="${state//[\'\"\\\\]/}" state="${state/#\~\//$HOME/}"
    [[ -d $state/generations ]] || return
    while read -r name; do
        [[ $name == "$2"* ]] && COMPREPLY+=("$(printf '%q' "$name")")
    done < <(
        if [[ $1 == classes ]]; then
            cat "$state"/generations/[0-9]*/meta.json 2>/dev/null |
                sed -n '/^ "classes": \[$/,/^ \]/s/^  "\(.*\)",\{0,1\}$/\1/p' | grep -v '\\' | sort -u
        else
            echo 0
            ls "$state/generations" 2>/dev/null | sed -n 's/^0*\([1-9][0-9]*\)$/\1/p'
        fi
    )
}"""


@dataclass(frozen=True)
class Option:
    """An option or a positional argument.

    Attributes:
        words: how it is written; empty for a positional one.
        about: its help.
        takes_value: whether a value follows.
        choices: what the value can be; empty for anything.
        files: whether the value may be a path.
    """

    words: list[str]
    about: str
    takes_value: bool
    choices: list[str]
    files: bool


@dataclass(frozen=True)
class Entry:
    """A command.

    Attributes:
        name: of it.
        about: one line.
        options: it takes.
    """

    name: str
    about: str
    options: list[Option]


def script(shell: str, parser: argparse.ArgumentParser) -> str:
    """A completion script.

    Args:
        shell: ``bash``, ``zsh`` or ``fish``.
        parser: of the program, with one level of commands.

    Returns:
        The script's text.
    """
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](parser.prog, entries(parser))


def entries(parser: argparse.ArgumentParser) -> list[Entry]:
    """The commands of a parser, in their order."""
    found = []
    for group in (each for each in parser._actions if isinstance(each, argparse._SubParsersAction)):
        about = {each.dest: each.help or "" for each in group._choices_actions}
        for name, sub in group.choices.items():
            options = [_option(action) for action in sub._actions]
            found.append(Entry(name, about.get(name, ""), options))
    return found


def _option(action: argparse.Action) -> Option:
    choices = [str(each) for each in action.choices or ()]
    takes_value = action.nargs != 0
    files = takes_value and not choices and action.type in (None, str, Path)
    text = "" if action.help is argparse.SUPPRESS else " ".join((action.help or "").replace("%%", "%").split())
    return Option(list(action.option_strings), text, takes_value, choices, files)


def _identifier(prog: str) -> str:
    return "_" + prog.replace("-", "_")


def _bash(prog: str, commands: list[Entry]) -> str:
    """Words by command; the word before decides on values."""
    name, cases, values = _identifier(prog), [], []
    for each in commands:
        words = [word for option in each.options for word in option.words if word.startswith("--")]
        words += [choice for option in each.options if not option.words for choice in option.choices]
        files = any(option.files for option in each.options if not option.words)
        cases.append(f'        {each.name}) words="{" ".join(words)}"; files={int(files)} ;;')
        values += [
            _bash_value(name, each.name, option) for option in each.options if option.words and option.takes_value
        ]
    return "\n".join(
        [
            f"# bash completion of {prog}; made by `{prog} completion bash`",
            *([_BASH_FROM_STATE.replace("NAME", name)] if any("_from_state" in value for value in values) else []),
            f"{name}() {{",
            '    local current="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}"',
            '    local command="" words="" word files=0 value=0',
            '    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do',
            '        [[ $word != -* ]] && { command="$word"; break; }',
            "    done",
            "    COMPREPLY=()",
            '    if [[ -z $command ]]; then words="--help --version '
            + " ".join(each.name for each in commands)
            + '"; fi',
            '    case "$command" in',
            *cases,
            "    esac",
            '    case "$command $before" in',
            *values,
            "    esac",
            "    if (( value )) || [[ $current == -* ]] || (( ! files )); then",
            '        COMPREPLY=($(compgen -W "$words" -- "$current"))',
            "    fi",
            "    if (( files )) && [[ $current != -* ]]; then",
            "        compopt -o filenames 2>/dev/null",
            "        local IFS=$'\\n'; COMPREPLY+=($(compgen -f -- \"$current\"))",
            "    fi",
            "}",
            f"complete -F {name} {prog}",
        ]
    )


def _bash_value(name: str, command: str, option: Option) -> str:
    """The case of an option after which a value is wanted."""
    word = option.words[-1]
    if source := _FROM_STATE.get(word):
        return f'        "{command} {word}") {name}_from_state {source} "$current"; return ;;'
    return f'        "{command} {word}") words="{" ".join(option.choices)}"; files={int(option.files)}; value=1 ;;'


def _zsh_quoted(text: str) -> str:
    """Text inside single quotes of an ``_arguments`` specification."""
    for special in "\\[]:":
        text = text.replace(special, "\\" + special)
    return text.replace("'", "'\\''")


def _zsh_value(option: Option) -> str:
    """What ``_arguments`` offers as an option's value."""
    if not option.takes_value:
        return ""
    action = f"({' '.join(option.choices)})" if option.choices else "_files" if option.files else " "
    return f":value:{action}"


def _zsh(prog: str, commands: list[Entry]) -> str:
    """One ``_arguments`` a command."""
    name = _identifier(prog)
    described = [f"        '{each.name}:{_zsh_quoted(each.about)}'" for each in commands]
    cases = []
    for each in commands:
        lines = []
        for option in each.options:
            for word in option.words:
                lines.append(f"'{word}[{_zsh_quoted(option.about)}]{_zsh_value(option)}'")
            if not option.words:
                lines.append(f"'*{_zsh_value(option)}'")
        cases += [
            f"        {each.name})",
            "            _arguments \\",
            *[f"                {line} \\" for line in lines],
        ]
        cases[-1] = cases[-1].removesuffix(" \\")
        cases.append("            ;;")
    return "\n".join(
        [
            f"#compdef {prog}",
            f"# zsh completion of {prog}; made by `{prog} completion zsh`",
            f"{name}() {{",
            "    local -a commands=(",
            *described,
            "    )",
            "    if (( CURRENT == 2 )); then",
            f"        _describe '{prog} command' commands",
            "        _arguments '--help[show help]' '--version[show the version]'",
            "        return",
            "    fi",
            "    local command=$words[2]",
            "    shift words; (( CURRENT-- ))",
            "    case $command in",
            *cases,
            "    esac",
            "}",
            # loaded from $fpath the file is the function's body; sourced or evaluated it registers the function
            f'if [[ "$funcstack[1]" == "{name}" || "$funcstack[1]" == "_{prog}" ]]; then',
            f'    {name} "$@"',
            "else",
            f"    compdef {name} {prog}",
            "fi",
        ]
    )


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _fish(prog: str, commands: list[Entry]) -> str:
    """One ``complete`` an option."""
    names = " ".join(each.name for each in commands)
    lines = [f"# fish completion of {prog}; made by `{prog} completion fish`", f"complete -c {prog} -f"]
    first = f"complete -c {prog} -n {_fish_quoted(f'not __fish_seen_subcommand_from {names}')}"
    lines += [f"{first} -l help -d 'show help'", f"{first} -l version -d 'show the version'"]
    for each in commands:
        lines.append(f"{first} -a {each.name} -d {_fish_quoted(each.about)}")
        start = f"complete -c {prog} -n {_fish_quoted(f'__fish_seen_subcommand_from {each.name}')}"
        for option in each.options:
            long = [f"-l {word[2:]}" for word in option.words if word.startswith("--")]
            short = [f"-s {word[1:]}" for word in option.words if not word.startswith("--")]
            value = _fish_value(option)
            about = f" -d {_fish_quoted(option.about)}" if option.words and option.about else ""
            if option.words or value:
                lines.append(" ".join([start, *short, *long, *value]) + about)
    return "\n".join(lines)


def _fish_value(option: Option) -> list[str]:
    """Flags that say what follows."""
    if not option.takes_value:
        return []
    if option.choices:
        return ["-x" if option.words else "", "-a", _fish_quoted(" ".join(option.choices))]
    if option.files:
        return ["-r", "-F"] if option.words else ["-F"]
    return ["-x"] if option.words else []
