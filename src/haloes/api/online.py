"""Align a model in rounds."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from haloes.api.arguments import (
    Columns,
    ConfigLike,
    JudgeLike,
    PathLike,
    ProgressLike,
    RaterLike,
    argument_settings,
    configured,
    path_of,
    showing,
    without_none,
)
from haloes.training.settings import Auto

if TYPE_CHECKING:
    from haloes.online_rounds.rounds import CurvePoint


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineResult:
    """The models of online rounds, from the first to that of the last round."""

    points: "tuple[CurvePoint, ...]"
    """Rating and divergence on held-out prompts: of the first model, then of the model after each round."""
    num_held_out: int
    """Held-out prompts that all of them answered."""
    folder: Path
    curve: Path
    """The points as JSON."""
    last_run: Path
    """The run of the last round, which `haloes.export` takes."""


def online(
    prompts: PathLike,
    *,
    config: ConfigLike | None = None,
    model: PathLike | None = None,
    loss: str | None = None,
    columns: Columns | None = None,
    lr: float | Auto | None = None,
    epochs: float | Auto | None = None,
    rater: RaterLike | None = None,
    judge: JudgeLike | None = None,
    judge_model: PathLike | None = None,
    base_url: str | None = None,
    key_env: str | None = None,
    rule: str | None = None,
    template: str | None = None,
    judge_settings: Mapping[str, Any] | None = None,
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
    out: PathLike | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: ProgressLike = "auto",
) -> OnlineResult:
    """
    Align a model in rounds: it answers, a rater or judge decides, it learns from the verdicts, and again.

    A call that was stopped continues when repeated; with more rounds it goes further.

    Example:
        result = haloes.online("prompts.txt", model="model", rater="rules.py:rate", rounds=1, held_out=4)
        print([(point.round, point.kl.value) for point in result.points])

    Args:
        prompts: prompts (.txt, one a line, or .jsonl with `prompt`), a feedback file, or "everyday", a built-in list.
        config: settings of each round's training: a YAML file, or nested mappings.
        model: a folder, a name on the hub, a .gguf file, or "embedded" (the default).
        loss: "kto" (the default) or the name of another loss.
        columns: names of the columns of a feedback file.
        lr: the peak learning rate of each round's training, train.lr; "auto" if left out.
        epochs: passes over a round's answers, train.epochs; "auto" if left out: 1, and up to 5 for few answers.
        rater: a function, or module:function or file.py:function, that returns its thumb, (liked, reason), for
            (prompt, completion, finished).
        judge: in place of a rater, a judge that compares every two answers to a prompt, as in `haloes.judge`. For a
            loss on pairs winner and loser are a pair; otherwise an answer is desirable if it wins most comparisons.
        judge_model: the judge's name on the server, or a model's folder or name on the hub.
        base_url: the judge's server.
        key_env: the NAME of the environment variable that holds the server's key.
        rule: the judge's function, called with (prompt, first, second).
        template: the judge's prompt: "kto-paper", "alpaca-eval", "mt-bench", or a file.
        judge_settings: further settings of the judge, such as {"timeout": 30}.
        rounds: number of rounds.
        per_prompt: answers to each prompt of a round.
        prompts_per_round: prompts of a round; the next round takes the next ones.
        held_out: number of prompts that are never learnt on; on them each round is measured.
        reference: the loss's reference: the model that a round begins with ("previous"), or the very first one
            ("fixed").
        max_new_tokens: maximum tokens of an answer.
        temperature: temperature of the draws; positive.
        top_p: the likeliest tokens with this total probability are drawn from.
        seed: seed of prompts, draws and judging.
        batch_size: answers at once; examples in a step of the training are train.batch_size.
        out: the folder; runs/online-<prompts> if left out.
        settings: nested mappings such as {"train": {"lr": 1e-4}}, over all other arguments.
        progress: told how far the rounds are; shown in a terminal or notebook if left out, None for silence.

    Returns:
        The reward-KL curve and the run of the last round.

    Raises:
        UserError: something that the user can put right; what was done stays, and where nothing was, no folder.
        Interrupted: Ctrl-C during a round's training; the same call continues.
    """
    from haloes.runs.early_checks import check_function_exists, check_names
    from haloes.runs.go_on import refuse_init
    from haloes.runs.prompts import load_asked
    from haloes.sampling._contract import Decoding

    given = argument_settings(model=model, loss=loss, columns=columns, lr=lr, epochs=epochs)
    run_config = configured(config, given, settings)
    refuse_init(run_config.model, where="haloes online")
    check_names(run_config)
    for setting, function in (("rater", rater), ("rule", rule)):
        if isinstance(function, str):
            check_function_exists(function, setting=setting)
    asked = load_asked(str(prompts), run_config.feedback, everything=True)
    # After the checks, as they bring torch in.
    from haloes.online_rounds.labelers import make_labeler
    from haloes.online_rounds.rounds import CURVE, RUN
    from haloes.online_rounds.rounds import online as carry_out
    from haloes.online_rounds.settings import OnlineSettings, hold_out

    flags = {"model": judge_model, "base_url": base_url, "key_env": key_env, "rule": rule, "template": template}
    labeler = make_labeler(rater, judge, {**without_none(flags), **(judge_settings or {})}, seed=seed)
    rounds_settings = OnlineSettings(
        rounds=rounds,
        per_prompt=per_prompt,
        prompts_per_round=prompts_per_round,
        reference=reference,
        decoding=Decoding(max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p),
        seed=seed,
        batch_size=batch_size,
    )
    learnt, measured = hold_out(asked, held_out, seed=seed)
    folder = online_dir(prompts) if out is None else path_of(out)
    with showing(progress) as shown:
        points = carry_out(
            run_config,
            rounds_settings,
            labeler,
            prompts=learnt,
            held_out=measured,
            out=folder,
            progress=shown,
        )
    return OnlineResult(
        points=points,
        num_held_out=len(measured),
        folder=folder,
        curve=folder / CURVE,
        last_run=folder / f"round-{rounds}" / RUN,
    )


def online_dir(prompts: PathLike) -> Path:
    """Return where online rounds go if nobody says so."""
    return Path("runs") / f"online-{Path(prompts).name.split('.')[0]}"
