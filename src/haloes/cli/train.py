"""`haloes train`: from a feedback file to an aligned model, measured."""

from typing import Annotated

from cyclopts import Parameter

from haloes.cli.flags import ConfigFile, Out, Settings


def train(
    source: Annotated[str | None, Parameter(name=["FEEDBACK"])] = None,
    /,
    *,
    config: ConfigFile = None,
    model: str | None = None,
    loss: str | None = None,
    validation: str | None = None,
    columns: str | None = None,
    lr: float | None = None,
    epochs: float | None = None,
    batch_size: int | None = None,
    out: Out = None,
    settings: Settings = (),
) -> None:
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
    loss
        kto (the default, for thumbs), dpo (for pairs) or another of `haloes losses`, or path/to/file.py:Class.
    validation
        A file of held-out feedback; if left out, a tenth to a third of the feedback is held out, by
        prompt: feedback.validation_share.
    columns
        Which column is what, where names differ: completion=answer,label=thumb. Our names are prompt, completion,
        label, score; chosen, rejected; a, b, preference; messages, system; conversation, user, group, weight, margin.
    lr
        The peak learning rate, train.lr: the setting that matters most; 5e-6 if left out. Small models and adapters
        take 1e-4 to 1e-3.
    epochs
        Passes over the feedback, train.epochs; 1 if left out.
    batch_size
        Examples in a step, train.batch_size; 32 if left out.
    out
        The run's folder; runs/<file>-<loss>-<number> if left out.
    settings
        Any setting as section.key=value, such as loss.beta=0.2, over all other options; may be given several times.
    """
    import haloes.api.runs
    from haloes.cli.views.run import show_run
    from haloes.progress.display import Display
    from haloes.runs.config import parse_settings

    with Display() as progress:
        run = haloes.api.runs.train(
            source,
            config=config,
            model=model,
            loss=loss,
            validation=validation,
            columns=columns,
            lr=lr,
            epochs=epochs,
            batch_size=batch_size,
            out=out,
            settings=parse_settings(settings),
            progress=progress,
        )
    show_run(run)
