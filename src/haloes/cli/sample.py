"""`haloes sample`: a model's answers to prompts, as records."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from haloes.cli.flags import DECODING, DecodingOptions, Settings
from haloes.sampling._contract import EngineName


def sample(
    model: Annotated[str, Parameter(name=["MODEL"])],
    source: Annotated[str, Parameter(name=["PROMPTS"])],
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    engine: EngineName = "transformers",
    base_url: str | None = None,
    key_env: str | None = None,
    name: str | None = None,
    n: int = 1,
    most: int | None = None,
    everything: bool = False,
    columns: str | None = None,
    decoding: DecodingOptions = DECODING,
    settings: Settings = (),
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
    decoding.max_new_tokens
        Most tokens of an answer; one that is cut off is marked.
    decoding.seed
        Of the draws; answer k to a prompt has seed + k.
    settings
        How a feedback file is read, such as feedback.validation_share=0.2, and the chat template's variables, such as
        tokens.chat_template_kwargs.enable_thinking=false.
    """
    import haloes.api.sampling
    from haloes.cli.views.output import say
    from haloes.errors import RunError
    from haloes.progress.display import Display
    from haloes.runs.read_settings import parse_settings

    with Display() as progress:
        sampled = haloes.api.sampling.sample(
            model,
            source,
            out=out,
            engine=engine,
            base_url=base_url,
            key_env=key_env,
            name=name,
            n=n,
            most=most,
            everything=everything,
            columns=columns,
            **asdict(decoding),
            settings=parse_settings(settings),
            progress=progress,
        )
    say(f"{sampled.num_answers} answers to {sampled.num_prompts} prompts in {out}, {sampled.num_new} of them new")
    if sampled.num_new < sampled.num_answers:
        say("The others stood there already.")
    if sampled.num_only_think:
        say(f"{sampled.num_only_think} were cut off inside their reasoning and hold no answer: raise --max-new-tokens.")
    if sampled.unanswered:
        first = sampled.unanswered[0]
        raise RunError(
            f"{len(sampled.unanswered)} prompts have no answer, the first ({first.prompt_id}): {first.reason}; the "
            "same command asks them again"
        )
