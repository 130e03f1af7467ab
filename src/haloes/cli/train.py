"""`haloes train`: from a feedback file to an aligned model, measured."""

from typing import Annotated, Any

from cyclopts import Parameter

from haloes.cli.flags import ONE_PROCESS, ConfigFile, Out, ProcessOptions, Settings
from haloes.training.settings import Auto


def train(
    source: Annotated[str | None, Parameter(name=["FEEDBACK"])] = None,
    /,
    *,
    config: ConfigFile = None,
    model: str | None = None,
    init: str | None = None,
    loss: str | None = None,
    validation: str | None = None,
    columns: str | None = None,
    system: str | None = None,
    scrub: bool = False,
    lr: float | Auto | None = None,
    epochs: float | Auto | None = None,
    batch_size: int | Auto | None = None,
    out: Out = None,
    processes: ProcessOptions = ONE_PROCESS,
    settings: Settings = (),
) -> int | None:
    """Align a model with feedback, and measure it on held-out prompts.

    The run's folder then holds the model, report.html and every number. Ctrl-C ends the run after the step that it is
    in, and `haloes resume RUN` goes on with it.

    Parameters
    ----------
    source
        A feedback file (JSONL, JSON, CSV, Parquet; gzip or not), a saved data set, or a set's name on the hub;
        may be left out where the settings name it (feedback.source).
    config
        A YAML file with settings (see `haloes schema`). Everything has a default; --set and other flags override it.
    model
        The model to align: a folder, a name on the hub, a .gguf file, or "embedded" (the default,
        SmolLM2-135M-Instruct).
    init
        A finished run to go on from, in place of --model: its adapter is trained further, and answers are compared with
        those of the model that it ended with (model.init). The result is one adapter on that run's base model.
    loss
        kto (the default: of pairs it takes each answer by itself), dpo (for pairs) or another of `haloes losses`, or
        path/to/file.py:Class; `haloes losses recommend FEEDBACK` says which suits.
    validation
        A file of held-out feedback; if left out, a tenth to a third of the feedback is held out, by
        prompt: feedback.validation_share.
    columns
        Which column is what, where names differ: completion=answer,label=thumb. Our names are prompt, completion,
        label, score; chosen, rejected; a, b, preference; messages, system; conversation, user, group, weight, margin.
    system
        A file with the system prompt, for rows that have none: exports of chats often lack it (feedback.system).
    scrub
        Put placeholders such as [EMAIL] for e-mail addresses, phone numbers, keys and the like (feedback.scrub).
    lr
        The peak learning rate, train.lr: the setting that matters most. auto if left out: by what is trained, the
        model's size and the number of steps; `haloes plan --find-lr` measures one.
    epochs
        Passes over the feedback, train.epochs; auto if left out: 1, and up to 5 for few rows.
    batch_size
        Examples in a step, train.batch_size; auto if left out: 32, and less for under 1,600 rows.
    out
        The run's folder; runs/<file>-<loss>-<number> if left out.
    settings
        Any setting as section.key=value, such as loss.beta=0.2, over all other options; may be given several times.
    """
    import haloes.api.runs
    from haloes.cli.processes import goes_on, start, starts_others
    from haloes.cli.views.run import show_run
    from haloes.progress.display import Display
    from haloes.runs.read_settings import parse_settings

    options: dict[str, Any] = {
        "config": config,
        "model": model,
        "init": init,
        "loss": loss,
        "validation": validation,
        "columns": columns,
        "system": system,
        "scrub": scrub,
        "lr": lr,
        "epochs": epochs,
        "batch_size": batch_size,
    }
    if starts_others(processes):
        folder = haloes.api.runs.folder_to_train_in(source, out=out, settings=parse_settings(settings), **options)
        command = ["train"] if source is None else ["train", source]
        return start(command, processes, folder, options={**options, "out": folder}, settings=settings)
    with Display() as progress:
        run = haloes.api.runs.train(
            source,
            **options,
            out=out,
            settings=parse_settings(settings),
            resume=goes_on(out, progress),
            progress=progress,
        )
    show_run(run)
    return None
