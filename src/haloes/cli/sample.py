"""`haloes sample`: a model's answers to prompts, as records."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from haloes.cli.views.output import say


def sample(
    model: Annotated[str, Parameter(name=["MODEL"])],
    source: Annotated[str, Parameter(name=["PROMPTS"])],
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    engine: Literal["transformers", "vllm", "http"] = "transformers",
    base_url: str | None = None,
    key_env: str | None = None,
    name: str | None = None,
    n: int = 1,
    most: int | None = None,
    everything: bool = False,
    columns: str | None = None,
    max_new_tokens: int = 256,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    batch_size: int = 64,
    settings: Annotated[tuple[str, ...], Parameter(name=["--set", "-s"], negative=())] = (),
) -> None:
    """Answer prompts with a model, into a file of records; stopped, the same command goes on with it.

    Parameters
    ----------
    model
        A run's folder, a model's or adapter's folder, a hub name, a .gguf file, "embedded", or a name on a server.
    source
        A run's folder (its held-out prompts), a feedback file (its held-out part), a file of prompts (.txt, a prompt a
        line, or .jsonl with `prompt`), or "everyday", a built-in list.
    out
        The file of answers, JSONL.
    engine
        transformers in this process, vllm where it is installed, or http for an OpenAI-compatible server.
    base_url
        The server, such as http://localhost:8000/v1.
    key_env
        The NAME of the environment variable that holds the server's key.
    name
        What to call the model in the records.
    n
        Answers to each prompt; above 1 it takes a temperature.
    most
        Answer so many of the prompts at most.
    everything
        All prompts of a feedback file, not only the held-out ones.
    columns
        Of a feedback file, which column is what, where names differ: completion=answer,label=thumb.
    max_new_tokens
        Most tokens of an answer; one that is cut off is marked.
    temperature
        0 takes the likeliest token each time.
    top_p
        The likeliest tokens with this total probability are drawn from.
    seed
        Of the draws; answer k to a prompt has seed + k.
    batch_size
        Answers at once.
    settings
        How a feedback file is read, such as feedback.validation_share=0.2.
    """
    from haloes.cli.flags import flag_settings
    from haloes.cli.views.progress import TerminalDisplay
    from haloes.errors import ConfigError, RunError
    from haloes.runs.config import make_config, parse_settings
    from haloes.runs.prompts import load_prompts
    from haloes.sampling._contract import Decoding
    from haloes.sampling.run import check_request, sample_to_file

    for option, value in (("n", n), ("batch_size", batch_size)):
        if value < 1:
            raise ConfigError(f"sample.{option} must be at least 1, got {value}")
    decoding = Decoding(max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p)
    seeds = range(seed, seed + n)
    check_request(out, decoding, seeds)
    config = make_config(flag_settings(source=source, columns=columns), parse_settings(settings))
    prompts = load_prompts(source, config.feedback, everything=everything, most=most, seed=config.train.seed)
    from haloes.runs.engines import make_engine  # here, as it brings torch in

    made = make_engine(model, engine=engine, name=name, batch_size=batch_size, base_url=base_url, key_env=key_env)
    with TerminalDisplay() as display:
        display.stage(f"answers of {made.name}", len(prompts) * n)
        found = sample_to_file(made, prompts, out, decoding=decoding, seeds=seeds, progress=display.advance)
    say(f"{found.answers} answers to {len(prompts)} prompts in {out}, {found.fresh} of them new")
    if found.fresh < found.answers:
        say("The others stood there already.")
    if found.unanswered:
        first = found.unanswered[0]
        raise RunError(
            f"{len(found.unanswered)} prompts have no answer, the first ({first.prompt_id}): {first.reason}; the same "
            "command asks them again"
        )
