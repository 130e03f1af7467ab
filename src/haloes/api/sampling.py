"""Sample completions."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haloes.api.arguments import Columns, PathLike, ProgressLike, argument_settings, configured, path_of, showing
from haloes.errors import ConfigError
from haloes.records import Completion
from haloes.sampling._contract import EngineName

if TYPE_CHECKING:
    from haloes.sampling._contract import NoAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleResult:
    """A file of completions after sampling."""

    path: Path
    num_prompts: int
    num_answers: int
    """Completions that the file holds now."""
    num_new: int
    """Completions that this call added."""
    unanswered: "tuple[NoAnswer, ...]"
    """Prompts without a completion, each with its reason; the same call asks them again."""
    num_only_think: int = 0
    """Completions of the file that were cut off inside the reasoning before them, and so are empty."""

    def completions(self) -> list[Completion]:
        """Read the completions from the file."""
        from haloes.sampling.run import read_completions

        return read_completions(self.path)


def sample(
    model: PathLike,
    prompts: PathLike,
    *,
    out: PathLike,
    engine: EngineName = "transformers",
    base_url: str | None = None,
    key_env: str | None = None,
    name: str | None = None,
    n: int = 1,
    most: int | None = None,
    everything: bool = False,
    columns: Columns | None = None,
    max_new_tokens: int = 256,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    batch_size: int = 64,
    settings: Mapping[str, Any] | None = None,
    progress: ProgressLike = "auto",
) -> SampleResult:
    """
    Sample a model's completions of prompts into a file of records; a call that was stopped continues when repeated.

    Example:
        sampled = haloes.sample("runs/first", "prompts.txt", out="answers.jsonl", max_new_tokens=16)
        for completion in sampled.completions():
            print(completion.prompt_id, completion.completion)

    Args:
        model: a run's folder, a model's or adapter's folder, a hub name, a .gguf file, "embedded", or a name on a
            server.
        prompts: a run's folder (its held-out prompts), a feedback file (its held-out part), a file of prompts (.txt, a
            prompt a line, or .jsonl with `prompt`), or "everyday", a built-in list.
        out: the file of completions, JSONL.
        engine: "transformers" in this process, "vllm" where it is installed, or "http" for an OpenAI-compatible server.
        base_url: the server, such as http://localhost:8000/v1.
        key_env: the NAME of the environment variable that holds the server's key.
        name: what to call the model in the records.
        n: completions of each prompt; above 1 it takes a temperature.
        most: answer this many of the prompts at most.
        everything: all prompts of a feedback file, not only the held-out ones.
        columns: names of the columns of a feedback file.
        max_new_tokens: maximum tokens of a completion; one that is cut off is marked.
        temperature: 0 takes the likeliest token each time.
        top_p: the likeliest tokens with this total probability are drawn from.
        seed: seed of the draws; completion k of a prompt has seed + k.
        batch_size: completions at once.
        settings: how a feedback file is read, such as {"feedback": {"validation_share": 0.2}}, and values of the chat
            template's variables: {"tokens": {"chat_template_kwargs": {"enable_thinking": False}}}.
        progress: told how far the sampling is; shown in a terminal or notebook if left out, None for silence.

    Returns:
        The file, with what is new in it and what is still missing.

    Raises:
        ConfigError: arguments that do not fit together.
        DataError: there are no prompts, or `out` holds something else than completions.
        ModelError: the model cannot be loaded.
        RunError: `out` holds completions that were made otherwise, or cannot be written.
    """
    from haloes.models.locate import check_model_is_found
    from haloes.runs.prompts import load_asked
    from haloes.sampling._contract import Decoding
    from haloes.sampling.run import check_request, sample_to_file

    for option, value in (("n", n), ("batch_size", batch_size)):
        if value < 1:
            raise ConfigError(f"sample.{option} must be at least 1, got {value}")
    path = path_of(out)
    decoding = Decoding(max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p)
    seeds = range(seed, seed + n)
    # Everything that can be refused is refused before a model is loaded.
    check_request(path, decoding, seeds)
    if engine != "http":
        check_model_is_found(str(model))
    config = configured(None, argument_settings(feedback=prompts, columns=columns), settings)
    asked = load_asked(str(prompts), config.feedback, everything=everything, most=most)
    from haloes.runs.engines import make_engine  # here, as it brings torch in

    with showing(progress) as shown:
        shown.stage("loading the model")
        answering = make_engine(
            str(model),
            engine=engine,
            name=name,
            batch_size=batch_size,
            base_url=base_url,
            key_env=key_env,
            chat_template_kwargs=config.tokens.chat_template_kwargs,
        )
        shown.stage(f"answers of {answering.name}", len(asked) * n)
        sampled = sample_to_file(answering, asked, path, decoding=decoding, seeds=seeds, advance=shown.advance)
    return SampleResult(
        path=path,
        num_prompts=len(asked),
        num_answers=sampled.answers,
        num_new=sampled.fresh,
        unanswered=sampled.unanswered,
        num_only_think=sampled.only_think,
    )
