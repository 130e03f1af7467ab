"""lm-eval as the harness: its definitions, prompts, examples, filters and scores; its model for transformers."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from haloes.errors import ConfigError, DataError
from haloes.evaluation.bench._contract import HarnessModel, Loaded, Question, QuestionScore, Render, Reply
from haloes.evaluation.bench.rows import read_split
from haloes.evaluation.bench.sandbox.run import FunctionTests, check_program
from haloes.evaluation.bench.table import Benchmark
from haloes.models.quiet import quiet

INSTALL = 'pip install "haloes[bench]"'
_OLDEST = (0, 4, 13)
_FEWSHOT_SEED = 1234
"""lm-eval's own."""
_PUNKT = "tokenizers/punkt_tab"
_FENCE = "```"


@dataclass(frozen=True, slots=True)
class LmEval:
    """The installed lm-eval."""

    @property
    def version(self) -> str:
        """Return lm-eval's version, for the record."""
        return f"lm-eval {version('lm_eval')}"

    def require(self, benchmarks: Sequence[Benchmark]) -> None:
        """Raise ConfigError where lm-eval, or what a benchmark's scoring takes, is not installed."""
        try:
            installed = version("lm_eval")
        except PackageNotFoundError as error:
            raise ConfigError(f"--bench takes lm-eval, which is not installed here. Run: {INSTALL}") from error
        if tuple(int(part) for part in installed.split(".")[:3] if part.isdigit()) < _OLDEST:
            raise ConfigError(f"--bench takes lm-eval 0.4.13 or later, here is {installed}. Run: {INSTALL} --upgrade")
        for benchmark in benchmarks:
            missing = [name for name in benchmark.needs if find_spec(name) is None]
            if missing:
                raise ConfigError(
                    f"{benchmark.name}: its scoring takes {' and '.join(missing)}, not installed here. Run: {INSTALL}"
                )
            if "nltk" in benchmark.needs:
                _require_punkt(benchmark)

    def load(self, benchmark: Benchmark, data: Path | None) -> Loaded:
        """Load the definition with its rows. Raises ConfigError or DataError where the rows cannot be had."""
        with quiet():
            import lm_eval.tasks
            from lm_eval.tasks import TaskManager

            place = Path(lm_eval.tasks.__file__).parent / benchmark.place
            index = TaskManager(include_defaults=False, include_path=str(place)).task_index
        tasks = {name: _task(index[name], benchmark, data) for name in _leaves(benchmark.name, index)}
        return LmEvalTasks(benchmark, tasks)

    def model(self, model: Any, tokenizer: Any) -> HarnessModel:
        """Wrap a loaded model in lm-eval's own class for transformers."""
        with quiet():
            from lm_eval.models.huggingface import HFLM

            # Its own batching is switched off: the caller decides the size, and each call is one batch.
            return LmEvalModel(HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1 << 16))


@dataclass(frozen=True, slots=True)
class LmEvalTasks:
    """A benchmark: one of lm-eval's tasks for each subtask."""

    benchmark: Benchmark
    tasks: Mapping[str, Any]

    @property
    def sizes(self) -> dict[str, int]:
        """Return how many questions each subtask has."""
        return {name: len(task.eval_docs) for name, task in self.tasks.items()}

    @property
    def about(self) -> dict[str, Any]:
        """Return the definition's version, the number of examples, and the most tokens of an answer (0 for choices)."""
        task = next(iter(self.tasks.values()))
        return {
            "definition": str(task.VERSION),
            "examples": int(task.config.num_fewshot or 0),
            "most_tokens": _most_tokens(task.config.generation_kwargs) if task.OUTPUT_TYPE == "generate_until" else 0,
        }

    def questions(self, selected: Mapping[str, Sequence[int]], render: Render | None) -> list[Question]:
        """Build lm-eval's own requests; examples are drawn with lm-eval's seed, in the order of the questions."""
        found = []
        for name, numbers in selected.items():
            task = self.tasks[name]
            if task.config.num_fewshot is None:
                task.set_config("num_fewshot", 0)
            _require_examples(name, task)
            # Examples are drawn one after the other from one generator, so the same questions get the same prompts.
            task.set_fewshot_seed(_FEWSHOT_SEED)
            with quiet(), _fitting(name):
                task.build_all_requests(
                    samples=sorted(numbers),
                    apply_chat_template=render is not None,
                    fewshot_as_multiturn=render is not None,
                    chat_template=render,
                )
            # lm-eval makes one request a choice, and numbers documents by their index among the selected ones.
            grouped: dict[int, list[Any]] = {}
            for instance in task.instances:
                grouped.setdefault(instance.doc_id, []).append(instance)
            for place, number in enumerate(sorted(numbers)):
                requests = sorted(grouped[place], key=lambda one: one.idx)
                row = json.dumps(requests[0].doc, sort_keys=True, ensure_ascii=False, default=str)
                prompt = str(requests[0].args[0])
                found.append(Question(subtask=name, number=number, prompt=prompt, row=row, requests=requests))
        return found

    def score(self, question: Question, reply: Reply) -> QuestionScore:
        """Score by lm-eval's filters and metrics, and a program by running it in the sandbox."""
        task = self.tasks[question.subtask]
        requests = question.requests
        if self.benchmark.runs_code:
            return self._run(task, requests[0].doc, reply)
        raw = [reply.text] if reply.logps is None else list(zip(reply.logps, reply.greedy or (), strict=True))
        for request, value in zip(requests, raw, strict=True):
            # Filters read replies off the requests; what an earlier score left there must not be filtered again.
            request.resps, request.filtered_resps = [value], {}
        scores: dict[str, float | list[float]] = {}
        extracted: dict[str, str] = {}
        for ensemble in task._filters:  # noqa: SLF001 - lm-eval has no public way to filter a part of a task
            with quiet(), _fitting(question.subtask):
                ensemble.apply(requests)
                values = [request.filtered_resps[ensemble.name] for request in requests]
                found = task.process_results(requests[0].doc, values)
            scores |= {f"{metric},{ensemble.name}": _plain(value) for metric, value in found.items()}
            if reply.text is not None:
                extracted[ensemble.name] = str(values[0])
        if reply.logps is not None:
            choices = task.doc_to_choice(requests[0].doc)
            extracted["none"] = str(choices[max(range(len(choices)), key=reply.logps.__getitem__)])
        return QuestionScore(scores=scores, extracted=extracted)

    def _run(self, task: Any, row: Mapping[str, Any], reply: Reply) -> QuestionScore:
        program = program_of(str(row["prompt"]), reply.text or "", fenced=self.benchmark.fenced)
        tests = FunctionTests(
            source=task.doc_to_target(row), function=str(row["entry_point"]), given=str(row["prompt"])
        )
        outcome = check_program(program, tests)
        return QuestionScore(
            scores={self.benchmark.metric: float(outcome.ending == "passed")},
            extracted={"program": program},
            note="" if outcome.ending == "passed" else f"{outcome.ending}: {outcome.detail}"[:500],
        )


@dataclass(frozen=True, slots=True)
class LmEvalModel:
    """lm-eval's `HFLM`."""

    lm: Any

    def answer(self, questions: Sequence[Question]) -> list[Reply]:
        """Answer one batch. Raises ConfigError where the answers do not fit the model's window."""
        first = questions[0].requests[0]
        requests = [request for question in questions for request in question.requests]
        if first.request_type == "generate_until":
            most = _most_tokens(first.args[1])
            room = self.lm.max_length - most
            if room < 1:
                raise ConfigError(
                    f"{first.task_name}: an answer may have {most} tokens and the model's window has "
                    f"{self.lm.max_length}; leave that benchmark out"
                )
        else:
            room = self.lm.max_length
        with quiet():
            ask: Callable[..., list[Any]] = getattr(self.lm, first.request_type)
            replies = iter(ask(requests, disable_tqdm=True))
        found = []
        for question in questions:
            said = [next(replies) for _ in question.requests]
            # lm-eval cuts long prompts on the left without a word; the record has to say so.
            cut = len(self.lm.tok_encode(question.prompt)) > room
            if first.request_type == "generate_until":
                found.append(Reply(text=str(said[0]), cut=cut))
            else:
                logps, greedy = zip(*said, strict=True)
                found.append(Reply(logps=tuple(map(float, logps)), greedy=tuple(map(bool, greedy)), cut=cut))
        return found


def _require_punkt(benchmark: Benchmark) -> None:
    import nltk

    try:
        nltk.data.find(_PUNKT)
    except LookupError as error:
        raise ConfigError(
            f"{benchmark.name}: nltk's data `punkt_tab` is not here, and haloes fetches nothing unasked. Run: "
            f"python -m nltk.downloader punkt_tab; on a machine without a network copy the folder {_PUNKT} of another "
            f"one into {nltk.data.path[0]}, or name its parent in NLTK_DATA"
        ) from error


def _leaves(name: str, index: Mapping[str, Any]) -> list[str]:
    """Return the tasks of a group, or the task itself."""
    from lm_eval.tasks._index import Kind
    from lm_eval.tasks._yaml_loader import load_yaml

    entry = index[name]
    if entry.kind is Kind.TAG:
        return sorted(entry.tags)
    if entry.kind is not Kind.GROUP:
        return [name]
    members = load_yaml(entry.yaml_path, resolve_func=False)["task"]
    return [leaf for member in members for leaf in _leaves(member, index)]


def _task(entry: Any, benchmark: Benchmark, data: Path | None) -> Any:
    """
    Make one of lm-eval's tasks, with its rows.

    The functions that a definition names are lm-eval's own modules. Those of a benchmark that runs code are left out:
    importing them loads Hugging Face's `code_eval` from the hub and runs a program with it, unprotected.
    """
    with quiet(), _reachable(benchmark) if data is None else _fitting(entry.name):
        from lm_eval.api.task import ConfigurableTask
        from lm_eval.tasks._yaml_loader import load_yaml

        settings = load_yaml(entry.yaml_path, resolve_func=not benchmark.runs_code)
        settings = {key: value for key, value in settings.items() if key not in {"tag", "group", "task_list"}}
        if benchmark.runs_code:
            # The sandbox scores; lm-eval's own metric would run the program unprotected.
            settings["metric_list"] = [{"metric": "bypass", "aggregation": "bypass", "higher_is_better": True}]
            settings["filter_list"] = None
        if data is not None:
            settings["custom_dataset"] = _local(settings, benchmark, data)
        return ConfigurableTask(config=settings)


def _local(settings: Mapping[str, Any], benchmark: Benchmark, data: Path) -> Callable[..., Any]:
    """Return a reader of the splits that a definition uses, from files, in place of `datasets.load_dataset`."""
    # Only the splits that are named: the folder need not hold the others.
    names = ("training_split", "validation_split", "test_split", "fewshot_split")
    splits = dict.fromkeys(settings[name] for name in names if settings.get(name))

    def read(**_: object) -> dict[str, Any]:
        from datasets import Dataset

        subset = settings.get("dataset_name")
        return {split: Dataset.from_list(read_split(data, benchmark.rows, subset, split)) for split in splits}

    return read


@contextmanager
def _reachable(benchmark: Benchmark) -> Iterator[None]:
    """Turn a failure to get rows from the hub into a ConfigError that says what to do."""
    try:
        yield
    except (OSError, ValueError) as error:
        # `datasets` raises ValueError for an unreachable hub, and for other faults that are not ours to explain.
        if isinstance(error, ValueError) and "hub" not in str(error).lower():
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"{benchmark.name}: its rows cannot be had from the hub ({reason}). On a machine without one: --bench-data "
            f"FOLDER with FOLDER/{benchmark.rows} in it"
        ) from error


@contextmanager
def _fitting(subtask: str) -> Iterator[None]:
    """Turn a failure of a definition over a row into a DataError: the definitions are tested, the rows are not."""
    from jinja2 import TemplateError

    try:
        yield
    except (KeyError, TypeError, IndexError, AssertionError, ValueError, TemplateError) as error:
        raise DataError(
            f"{subtask}: lm-eval's definition cannot use a row ({type(error).__name__}: {error}); are the columns "
            "those of the hub?"
        ) from error


def _require_examples(subtask: str, task: Any) -> None:
    """Raise DataError where there are fewer rows for examples than come before each question."""
    wanted = task.config.num_fewshot
    if wanted and (there := len(list(task.fewshot_docs()))) < wanted:
        split = task.config.fewshot_split or task.config.training_split or "examples"
        raise DataError(
            f"{subtask}: {wanted} examples come before each question, and its rows for them ({split}) are {there}; "
            "give the whole file"
        )


def _most_tokens(settings: Mapping[str, Any] | None) -> int:
    """Return the most tokens of an answer: lm-eval's default where a definition names none."""
    from lm_eval.defaults import DEFAULT_MAX_GEN_TOKS

    return int((settings or {}).get("max_gen_toks") or DEFAULT_MAX_GEN_TOKS)


def _plain(value: Any) -> float | list[float]:
    return [float(one) for one in value] if isinstance(value, list) else float(value)


def program_of(prompt: str, reply: str, *, fenced: bool) -> str:
    """
    Return the prompt's function with the reply as its body; of a reply in a fenced block, what stands before its end.

    This is lm-eval's `build_predictions` and `build_predictions_instruct` of HumanEval.
    """
    return prompt + (reply.partition(_FENCE)[0] if fenced else reply)
