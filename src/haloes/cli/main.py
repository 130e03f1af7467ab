"""
The command `haloes`: parse, call, and turn what a user can act on into one clear message and exit code 2.

Processes that torchrun started end with one code, that of the first to end, which alone says why.
"""

import keyword
import os
import shlex
import sys
import traceback

from cyclopts import App, CycloptsError, Parameter

from haloes.cli.help import explain_whole, shown_default

app = App(
    name="haloes",
    help=(
        "Align language models with human feedback, and measure whether it helped.\n\n"
        "To begin: `haloes doctor FILE` looks at your feedback, `haloes plan FILE` says what a run will take, "
        "`haloes train FILE --out RUN` carries it out, and `haloes judge RUN` has a judge compare the answers. "
        "`haloes COMMAND --help` explains a command."
    ),
    default_parameter=Parameter(show_default=shown_default),
    help_format="plaintext",
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
)
COMMANDS = {
    "doctor": "Say what a feedback file holds and what is wrong with it, with file and line and what to do.",
    "convert": "Write any feedback file as canonical records (JSONL, or Parquet by its name), which TRL reads too.",
    "import": "Fetch the feedback of a tool's server, and write it as canonical records.",
    "plan": "Say what a run will take in memory, time and disk, from a few of its own steps, and whether it fits.",
    "train": "Align a model with feedback, and measure it on held-out prompts.",
    "resume": "Go on with a run that was stopped, from its newest intact checkpoint.",
    "export": "Export a run's model: merged for transformers, its adapter, or for llama.cpp, Ollama, vLLM or the hub.",
    "report": "Write a run's report.html again, and summarise it here; also for a run that is not finished.",
    "sample": "Answer prompts with a model, into a file of records; stopped, the same command goes on with it.",
    "serve": "Serve a run's model, or stand before another server, and collect votes on what it says.",
    "judge": "Have a judge compare two models' answers, in both orders; stopped, the same command goes on with it.",
    "refusals": "Ask a judge whether each answer refuses; stopped, the same command goes on with it.",
    "eval": "Win rates, ratings, agreement of judges and judge-free numbers with intervals, from records on disk.",
    "online": "Align a model in rounds: it answers, a rater or judge decides, it learns from the verdicts, and again.",
    "compare": "Several runs on one page: differing settings, paired differences on shared rows, win rates, curves.",
    "losses": "List the losses, with what they need and where they are from; explain, plot or recommend them.",
    "reproduce": "Experiments of the KTO paper, small but real, on feedback of one's own.",
    "init": "Write a settings file with every setting explained, and a few example rows of each kind of feedback.",
    "settings": "List the settings with their defaults and what they mean; with a section or a setting, in full.",
    "words": "Explain the words that haloes uses, such as AUC, KL, nats, margin and z0, with one plain sentence each.",
    "schema": "Print the JSON schema of a configuration file, with every setting, its default and its origin.",
    "demo": "Align SmolLM2-135M-Instruct with feedback that ships with haloes, and show what changed.",
}
"""
Commands in the order in which the help lists them, each in the module of its name, imported when it is called; the text
is its docstring's first line.
"""


def python_name(command: str) -> str:
    """Return the name of a command's module and function, which is no word of Python's own."""
    return f"{command}_" if keyword.iskeyword(command) else command


for _position, (_name, _help) in enumerate(COMMANDS.items()):
    app.command(f"haloes.cli.{python_name(_name)}:{python_name(_name)}", name=_name, help=_help, sort_key=_position)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exit with 0, with 2 for what the user can put right, with 130 after Ctrl-C or SIGTERM."""
    from haloes.runs.launched import end_with_launcher

    end_with_launcher()
    code = run(sys.argv[1:] if arguments is None else arguments)
    if code and _is_one_of_several():
        # Not as Python ends: what waits for processes that are gone, or hang, would wait on.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Carry out the command and return its exit code."""
    from haloes.cli.views.output import show_what_the_encoding_lacks, unwritten
    from haloes.errors import BUG, INTERRUPTED, USAGE, Interrupted, UserError, exit_code
    from haloes.runs.process import interrupt_on_terminate

    # Imports the module of this command and of no other: `--help` has to come at once.
    if arguments and arguments[0] in COMMANDS:
        explain_whole(app[arguments[0]])
    show_what_the_encoding_lacks()
    try:
        _refuse_empty(arguments)
        with interrupt_on_terminate():
            code = app(
                arguments,
                exit_on_error=False,
                print_error=False,
                result_action="return_int_as_exit_code_else_zero",
            )
        sys.stdout.flush()  # here, where it can still be told that it cannot be written
    except CycloptsError as error:
        from haloes.cli.mistakes import explained

        return _end(explained(error, app), USAGE)
    except (OSError, SystemExit) as error:  # haloes schema | head, or > /dev/full
        return unwritten(error)
    except Interrupted as stopped:
        return _end(f"{stopped}, and saved. Go on with: haloes resume {stopped.run_dir}", INTERRUPTED)
    except (UserError, KeyboardInterrupt) as error:
        return _end(str(error) or "interrupted", exit_code(error))
    except Exception:
        if not _is_one_of_several():
            raise
        traceback.print_exc()
        return _end(None, BUG)
    return int(code)


def _is_one_of_several() -> bool:
    """Return whether torchrun, or the like, started several processes of this command."""
    return os.environ.get("WORLD_SIZE", "1") != "1"


def _end(message: str | None, code: int) -> int:
    """Say why this process ends, and return its exit code; of several processes the first to end speaks for all."""
    from haloes.cli.views.output import fail

    speaks = True
    if _is_one_of_several():
        from haloes.training.process_group import last_word

        code, speaks = last_word(code)
    return fail(message, code=code) if speaks and message is not None else code


def _refuse_empty(arguments: list[str]) -> None:
    """Raise ConfigError for an empty argument, which as a path would be the present folder."""
    from haloes.errors import ConfigError

    if "" in arguments:
        before = shlex.join(["haloes", *arguments[: arguments.index("")]])
        raise ConfigError(f'"{before}" is followed by an empty argument; give a value. Is a shell variable not set?')
