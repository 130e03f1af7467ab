"""A harness of benchmarks without lm-eval: questions with numbers as answers, and a scripted model."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from haloes.errors import ConfigError
from haloes.evaluation.bench._contract import Question, QuestionScore, Render, Reply
from haloes.evaluation.bench.table import Benchmark

Says = Callable[[str, Question], str]
"""What a model called so says to a question."""


@dataclass
class FakeLoaded:
    """Questions whose right answer is their number."""

    benchmark: Benchmark
    sizes: dict[str, int]
    text: str = "How many?"
    about: dict[str, Any] = field(default_factory=lambda: {"definition": "1", "examples": 0, "most_tokens": 8})

    def questions(self, selected: Mapping[str, Sequence[int]], render: Render | None) -> list[Question]:
        found = []
        for subtask, numbers in selected.items():
            for number in numbers:
                prompt = f"{self.text} {subtask} {number}"
                shown = prompt if render is None else render([{"role": "user", "content": prompt}])
                row = json.dumps({"prompt": prompt})
                found.append(Question(subtask=subtask, number=number, prompt=shown, row=row))
        return found

    def score(self, question: Question, reply: Reply) -> QuestionScore:
        right = float(reply.text == str(question.number))
        scores: dict[str, float | list[float]] = {self.benchmark.metric: right}
        scores |= {metric: [right, 1.0] for metric, _ in self.benchmark.others}
        return QuestionScore(scores=scores, extracted={"none": reply.text or ""})


@dataclass
class FakeModel:
    """Says what it is told to; after `most` batches it fails as if killed."""

    name: str
    says: Says
    asked: list[Question]
    most: int | None = None
    batches: int = 0

    def answer(self, questions: Sequence[Question]) -> list[Reply]:
        if self.most is not None and self.batches >= self.most:
            raise KeyboardInterrupt
        self.batches += 1
        self.asked += questions
        return [Reply(text=self.says(self.name, question)) for question in questions]


@dataclass
class FakeHarness:
    """Benchmarks with given subtasks."""

    says: Says = lambda _, question: str(question.number)
    sizes: Mapping[str, int] = field(default_factory=lambda: {"sums": 10})
    text: str = "How many?"
    version: str = "fake 1"
    missing: str = ""
    most: int | None = None
    asked: list[Question] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)

    def require(self, benchmarks: Sequence[Benchmark]) -> None:
        if self.missing:
            raise ConfigError(self.missing)

    def load(self, benchmark: Benchmark, data: Path | None) -> FakeLoaded:
        return FakeLoaded(benchmark, dict(self.sizes), self.text)

    def model(self, model: Any, tokenizer: Any) -> FakeModel:
        self.loaded.append(model.name_or_path)
        return FakeModel(model.name_or_path, self.says, self.asked, self.most)
