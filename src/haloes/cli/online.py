"""`haloes online`: rounds of answers, verdicts and training."""

from dataclasses import asdict
from typing import Annotated, Literal

from cyclopts import Parameter

from haloes.api.arguments import JudgeName
from haloes.cli.flags import (
    NO_JUDGE_OPTIONS,
    ROUND_DECODING,
    ConfigFile,
    JudgeOptions,
    Out,
    RoundDecodingOptions,
    Settings,
)
from haloes.sampling._contract import EngineName
from haloes.training.settings import Auto

# The option exists to be refused with its reason: who knows --engine from `haloes sample` looks for it here.
_REFUSED_ENGINES = {
    "http": "--engine http: a server answers with the model that it was started with, and a round's answers must come "
    "from the model that the round before left, which it does not have; leave --engine out. A judge may be a server: "
    "--judge http --base-url URL",
    "vllm": "--engine vllm: vLLM loads plain models and keeps its GPU memory, and a round's policy is an adapter that "
    "this process goes on to train; leave --engine out",
}


def online(
    source: Annotated[str, Parameter(name=["PROMPTS"])],
    /,
    *,
    config: ConfigFile = None,
    model: str | None = None,
    loss: str | None = None,
    columns: str | None = None,
    lr: float | Auto | None = None,
    epochs: float | Auto | None = None,
    rater: str | None = None,
    kind: Annotated[JudgeName | None, Parameter(name=["--judge", "-j"])] = None,
    judge_model: str | None = None,
    judging: JudgeOptions = NO_JUDGE_OPTIONS,
    judge_settings: Annotated[tuple[str, ...], Parameter(name=["--judge-set"], negative=())] = (),
    rounds: int = 3,
    per_prompt: int = 4,
    prompts_per_round: int = 64,
    held_out: int = 64,
    reference: Literal["previous", "fixed"] = "previous",
    decoding: RoundDecodingOptions = ROUND_DECODING,
    engine: Annotated[EngineName, Parameter(show=False)] = "transformers",
    out: Out = None,
    settings: Settings = (),
) -> None:
    """Align a model in rounds: it answers, a rater or judge decides, it learns from the verdicts, and again.

    Stopped, the same command goes on with it; with more --rounds it goes further.

    Parameters
    ----------
    source
        Prompts (.txt, one a line, or .jsonl with `prompt`), a feedback file, or "everyday", a built-in list.
    config
        A YAML file with settings of each round's training (see `haloes schema`).
    model
        A folder, a name on the hub, a .gguf file, or "embedded" (the default).
    loss
        kto (the default) or another of `haloes losses`.
    columns
        Of a feedback file, which column is what, where names differ: completion=answer,label=thumb.
    lr
        The peak learning rate of each round's training, train.lr; auto if left out.
    epochs
        Passes over a round's answers, train.epochs; auto if left out: 1, and up to 5 for few.
    rater
        module:function or file.py:function that gives its thumb, (liked, reason), for (prompt, completion, finished).
    kind
        In place of a rater, a judge that compares every two answers to a prompt, as in `haloes judge`. For a loss on
        pairs winner and loser are a pair; otherwise an answer is desirable if it wins most of its comparisons.
    judge_model
        Who judges: a name on the server, or a model's folder or name on the hub.
    judging.base_url
        The judge's server.
    judge_settings
        Further settings of the judge, such as timeout=30.
    rounds
        How many.
    per_prompt
        Answers to each prompt of a round.
    prompts_per_round
        Prompts of a round; the next round takes the next ones.
    held_out
        So many of the prompts are never learnt on; on them each round is measured.
    reference
        The loss's reference: the model that a round begins with (previous), or the very first one (fixed).
    decoding.temperature
        Of the draws; positive.
    decoding.seed
        Of prompts, draws and judging.
    decoding.batch_size
        Answers at once (examples in a step of the training: --set train.batch_size=N); transformers makes them in this
        process, where the policy of the round is.
    out
        The folder; runs/online-<prompts> if left out.
    settings
        Any setting of the training as section.key=value, such as loss.beta=0.2, over all other options.
    """
    import haloes.api.online
    from haloes.cli.views.online import show_rounds
    from haloes.errors import ConfigError, Interrupted
    from haloes.progress.display import Display
    from haloes.runs.read_settings import parse_settings

    if engine in _REFUSED_ENGINES:
        raise ConfigError(_REFUSED_ENGINES[engine])
    folder = out or haloes.api.online.online_dir(source)
    try:
        with Display() as progress:
            result = haloes.api.online.online(
                source,
                config=config,
                model=model,
                loss=loss,
                columns=columns,
                lr=lr,
                epochs=epochs,
                rater=rater,
                judge=kind,
                judge_model=judge_model,
                **asdict(judging),
                judge_settings=parse_settings(judge_settings),
                rounds=rounds,
                per_prompt=per_prompt,
                prompts_per_round=prompts_per_round,
                held_out=held_out,
                reference=reference,
                **asdict(decoding),
                out=folder,
                settings=parse_settings(settings),
                progress=progress,
            )
    except (Interrupted, KeyboardInterrupt) as stopped:
        raise KeyboardInterrupt(f"stopped; the same command goes on with what is in {folder}") from stopped
    show_rounds(result, reference)
