"""`haloes plan`: what a run will take, before it is started."""

from typing import Annotated, Any

from cyclopts import Parameter

from haloes.cli.flags import ConfigFile, Settings
from haloes.training.settings import Auto


def plan(
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
    memory: float | None = None,
    find_lr: Annotated[bool, Parameter(negative=())] = False,
    processes: int = 1,
    gpu_memory: str | None = None,
    shard: Annotated[bool, Parameter(negative=())] = False,
    json: Annotated[bool, Parameter(negative=())] = False,
    settings: Settings = (),
) -> None:
    """Say what a run will take in memory, time and disk, from a few of its own steps, and whether it fits.

    Nothing stays on disk, and there is no run folder. Where the run does not fit it says what to change, and the exit
    code is 2. Give what you would give `haloes train`.

    Parameters
    ----------
    source
        A feedback file as for `haloes train`, or a YAML file with settings that names one.
    config
        A YAML file with settings (see `haloes schema`); --set and the other flags override it.
    model
        The model to align: a folder, a name on the hub, a .gguf file, or "embedded" (the default,
        SmolLM2-135M-Instruct).
    init
        A finished run to go on from, in place of --model, as for `haloes train`.
    loss
        kto (the default: of pairs it takes each answer by itself), dpo (for pairs) or another of `haloes losses`, or
        path/to/file.py:Class; `haloes losses recommend FEEDBACK` says which suits.
    validation
        A file of held-out feedback; if left out, a tenth to a third of the feedback is held out, by
        prompt: feedback.validation_share.
    columns
        Which column is what, where names differ: completion=answer,label=thumb.
    system
        A file with the system prompt, for rows that have none: exports of chats often lack it (feedback.system).
    scrub
        Put placeholders such as [EMAIL] for e-mail addresses, phone numbers, keys and the like (feedback.scrub).
    lr
        The peak learning rate, train.lr, as for `haloes train`; neither memory nor time depends on it.
    epochs
        Passes over the feedback, train.epochs; auto if left out: 1, and up to 5 for few rows.
    batch_size
        Examples in a step, train.batch_size; auto if left out: 32, and less for under 1,600 rows.
    memory
        Memory that the run may take, in GiB; what is free on the device if left out.
    find_lr
        Try the learning rate and multiples of it with a few steps, and propose one that keeps the KL divergence of
        held-out answers within train.kl_budget.
    processes
        With --gpu-memory: how many processes there are to be, each with a GPU of its own, here or elsewhere.
    gpu_memory
        The memory of one GPU, such as 80G. What each process would hold is then computed from the model's shape alone:
        in a second, with no feedback read, nothing tried, and no GPU needed.
    shard
        With --gpu-memory: the weights lie in shards in any case, as with train.shard=full; auto if left out, as in a
        run.
    json
        Print the numbers as JSON, in bytes and seconds, and nothing else.
    settings
        Any setting as section.key=value, such as train.microbatch_tokens=2048, over all other
        options; may be given several times.
    """
    import haloes.api.runs
    from haloes.cli.views.plan import end_of_plan
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
        "memory": memory,
        "find_lr": find_lr,
        "processes": processes,
        "gpu_memory": gpu_memory,
        "shard": shard,
    }
    with Display() as progress:
        run_plan = haloes.api.runs.plan(source, **options, settings=parse_settings(settings), progress=progress)
    end_of_plan(run_plan, json=json)
