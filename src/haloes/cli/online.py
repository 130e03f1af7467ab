"""`haloes online`: rounds of answers, verdicts and training."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

Kind = Annotated[Literal["http", "local", "reward", "reward-model", "rule"] | None, Parameter(name=["--judge", "-j"])]
JudgeSettings = Annotated[tuple[str, ...], Parameter(name=["--judge-set"], negative=())]


def online(
    source: Annotated[str, Parameter(name=["PROMPTS"])],
    /,
    *,
    config: Annotated[Path | None, Parameter(name=["--config", "-c"])] = None,
    model: str | None = None,
    loss: str | None = None,
    columns: str | None = None,
    rater: str | None = None,
    kind: Kind = None,
    judge_model: str | None = None,
    base_url: str | None = None,
    key_env: str | None = None,
    rule: str | None = None,
    template: str | None = None,
    judge_settings: JudgeSettings = (),
    rounds: int = 3,
    per_prompt: int = 4,
    prompts_per_round: int = 64,
    held_out: int = 64,
    reference: Literal["previous", "fixed"] = "previous",
    max_new_tokens: int = 128,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int = 0,
    batch_size: int = 32,
    engine: Annotated[Literal["transformers", "vllm", "http"], Parameter(show=False)] = "transformers",
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    settings: Annotated[tuple[str, ...], Parameter(name=["--set", "-s"], negative=())] = (),
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
    rater
        module:function or file.py:function that gives its thumb, (liked, reason), for (prompt, completion, finished).
    kind
        In place of a rater, a judge that compares every two answers to a prompt, as in `haloes judge`. For a loss on
        pairs winner and loser are a pair; otherwise an answer is desirable if it wins most of its comparisons.
    judge_model
        Who judges: a name on the server, or a model's folder or name on the hub.
    base_url
        The judge's server.
    key_env
        The NAME of the environment variable that holds the server's key.
    rule
        The judge's function, called with (prompt, first, second).
    template
        The judge's prompt: kto-paper, alpaca-eval, mt-bench, or a file.
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
    max_new_tokens
        Most tokens of an answer.
    temperature
        Of the draws; positive.
    top_p
        The likeliest tokens with this total probability are drawn from.
    seed
        Of prompts, draws and judging.
    batch_size
        Answers at once; transformers makes them in this process, where the policy of the round is.
    out
        The folder; runs/online-<prompts> if left out.
    settings
        Any setting of the training as section.key=value, such as train.lr=1e-4.
    """
    from haloes.cli.flags import flag_settings
    from haloes.cli.views.online import carry_out, make_labeler, refuse_other_engines
    from haloes.online_rounds.settings import OnlineSettings
    from haloes.runs.config import config_of_file, parse_settings
    from haloes.sampling._contract import Decoding

    refuse_other_engines(engine)
    given = {"model": judge_model, "base_url": base_url, "key_env": key_env, "rule": rule, "template": template}
    critic = make_labeler(rater, kind, given, judge_settings, seed=seed)
    chosen = config_of_file(config, flag_settings(model=model, loss=loss, columns=columns), parse_settings(settings))
    rounds_settings = OnlineSettings(
        rounds=rounds,
        per_prompt=per_prompt,
        prompts_per_round=prompts_per_round,
        reference=reference,
        decoding=Decoding(max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p),
        seed=seed,
        batch_size=batch_size,
    )
    carry_out(source, chosen, rounds_settings, critic, held_out=held_out, out=out)
