"""Mistakes on the command line in our words: what was wrong, and what to type instead."""

import difflib
from typing import TYPE_CHECKING

from cyclopts.exceptions import (
    CycloptsError,
    MissingArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

if TYPE_CHECKING:
    from cyclopts import App
    from cyclopts.argument import Argument

_SETTINGS_OF_A_RUN = frozenset({"train", "plan", "resume", "online", "demo"})
"""Commands whose --set takes every setting of a run."""

_NUMBER_OR_AUTO = {
    "float|Literal[auto]|None": 'a number or "auto"',
    "int|Literal[auto]|None": 'a whole number or "auto"',
}
"""Types of options as cyclopts writes them, and in words."""


def explained(error: CycloptsError, app: "App") -> str:
    """Return what was wrong with the command line, what would be right, and where the command's help is."""
    chain = list(error.command_chain or ())
    command = app
    for name in chain:
        command = command[name]
    text = str(error).strip()
    for written, words in _NUMBER_OR_AUTO.items():
        text = text.replace(written, words)
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        text = _missing(error.argument, command, " ".join(chain), error.keyword)
    elif isinstance(error, UnknownOptionError) and chain and chain[0] in _SETTINGS_OF_A_RUN:
        text = _setting(error) or text
    elif isinstance(error, UnknownCommandError) and not chain and error.unused_tokens:
        text = _subcommand(error.unused_tokens[0], app) or text
    elif isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        text = _left_over(error.unused_tokens, command, " ".join(chain), error.root_input_tokens or [])
    end = "" if text.endswith("\n") else " "
    return f"{text}{end}See `{' '.join(['haloes', *chain, '--help'])}`."


def _missing(argument: "Argument", command: "App", called: str, keyword: str | None) -> str:
    """Return what is missing with its explanation, in which each of several choices has a line."""
    # Cyclopts reads the docstring for the help only.
    explained_arguments = command.assemble_argument_collection(parse_docstring=True)
    explanation = next((each.parameter.help or "" for each in explained_arguments if each.name == argument.name), "")
    needs = f"{keyword} needs a value" if keyword else f"{called} needs {argument.name}"
    choices = argument.get_choices(force=True) or ()
    # A single word, such as "auto", stands beside numbers.
    if len(choices) < 2:  # noqa: PLR2004
        return f"{needs}: {explanation}" if explanation else f"{needs}."
    lines = [f"  {line.strip()}" for line in explanation.split(";")]
    return "\n".join([f"{needs}, one of {', '.join(choices)}:", *lines, ""])


def _setting(error: UnknownOptionError) -> str | None:
    """Return that the option is a setting or another tool's word for an option, if it is; None otherwise."""
    from haloes.runs.setting_faults import settings_called

    option = (error.token.keyword or error.token.value or "").partition("=")[0]
    meant = next(iter(settings_called(option.removeprefix("--").replace("-", "_"))), None)
    if meant is None:
        return None
    ours = f"--{meant.rpartition('.')[2].replace('_', '-')}"
    if any(ours in argument.names for argument in error.argument_collection):
        return f"Unknown option: {option}. Did you mean {ours}?"
    return f"Unknown option: {option}. It is a setting: --set {meant}=VALUE."


def _subcommand(word: str, app: "App") -> str | None:
    """Return that the word is a command of another command, if it is; None otherwise."""
    for name in app:
        if not name.startswith("-") and word in [each for each in app[name] if not each.startswith("-")]:
            return f'Unknown command "{word}". Did you mean "{name} {word}"?'
    return None


def _left_over(words: list[str], command: "App", called: str, typed: list[str]) -> str:
    """Return the words that the command has no use for, and what the first of them was meant as where that is clear."""
    subcommands = [name for name in command if not name.startswith("-")]
    if subcommands:
        near = difflib.get_close_matches(words[0], subcommands, n=1)
        guess = f' Did you mean "{near[0]}"?' if near else ""
        return f'{called} has no subcommand "{words[0]}".{guess} There are: {", ".join(subcommands)}.'
    text = f"{called} has no use for {' '.join(words)!r}."
    before = typed[: typed.index(words[0])][-2:] if words[0] in typed else []
    if before and before[0] in {"--set", "-s"} and "=" not in before[-1]:
        return f"{text} Did you mean --set {before[-1]}={words[0]}?"
    return f"{text} Did you mean --set {words[0]}?" if "=" in words[0] else text
