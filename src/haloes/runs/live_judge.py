"""A judge that compares the policy's answers with those before training while a run trains, in both orders."""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haloes.errors import ConfigError, RunError, UserError
from haloes.judging._contract import Identity, Judge, JudgeReply, NoReply, OrderedPair
from haloes.judging.pairs import AnswerPairs, first_prompts, pair_answers
from haloes.judging.run import judge_pairs
from haloes.judging.table import JUDGES, make_judge
from haloes.records import Completion
from haloes.records_json import row_to_json
from haloes.runs import manifest
from haloes.runs.config import WatchSettings
from haloes.stats.comparisons import comparisons
from haloes.stats.win_rate import win_rate
from haloes.store import write_jsonl

WIN_RATE = "sampled/win_rate"
_ENDS = (f"{WIN_RATE}/low", f"{WIN_RATE}/high")
JUDGE_ERROR = "sampled/judge/error"
"""In a line of a validation: why a judge's win rate is missing, or does not rest on all answers."""
_BEFORE = "before"


def configured_judge(watch: WatchSettings, *, num_prompts: int, keep_best: str | None) -> Judge | None:
    """
    Make the judge of `watch.judge`; return None where there is none.

    Raises ConfigError where its settings are wrong, or `train.keep_best` wants its number and there is none.
    """
    section = watch.judge
    if section is None:
        if str(keep_best).startswith(WIN_RATE):
            raise ConfigError(f"train.keep_best is {keep_best}, which a judge measures while training; set watch.judge")
        return None
    if num_prompts < 2:  # noqa: PLR2004 - one prompt has no spread
        raise ConfigError(
            f"watch.judge compares answers to held-out prompts, and samples.prompts is {num_prompts}; "
            "set it to 2 or more"
        )
    if "kind" not in section:
        raise ConfigError(f"watch.judge.kind is missing: {', '.join(JUDGES)}")
    settings = {name: value for name, value in section.items() if name != "kind"}
    try:
        judge = make_judge(str(section["kind"]), settings)
        # Reading it loads the template, in which a fault is to show now.
        _ = judge.identity
    except ConfigError as error:
        text = str(error)
        raise ConfigError(f"watch.{text}" if text.startswith("judge") else f"watch.judge.{text}") from error
    return judge


class LiveJudge:
    """Compares answers at each validation, counts what that costs, and raises nothing once it was tried out."""

    def __init__(self, judge: Judge, before: Sequence[Completion], folder: Path, *, seed: int, same_run: bool) -> None:
        """
        Ask nothing yet.

        Args:
            judge: the judge that is asked.
            before: the answers before training.
            folder: takes answers and judgements.
            seed: seed of the delimiters around the answers; sent to judges that draw their replies.
            same_run: whether a run is resumed as it was: judgements of steps that are done again hold, and a judge that
                does not answer just now is no error.
        """
        self._judge, self._before, self._folder, self._seed = judge, before, folder, seed
        self._same_run, self._is_down = same_run, False

    def try_out(self) -> str | None:
        """
        Ask one question, about answers to two different prompts, so that what is set up wrongly shows before training.

        Returns:
            What the user should know of the reply; None where it is in order.

        Raises:
            UserError: the judge cannot be used as it is set up, or does not answer.
        """
        # Answers to two different prompts surely differ, and equal ones are never asked about.
        first, second = self._before[0], self._before[-1]
        trial = OrderedPair(
            prompt_id=first.prompt_id,
            prompt=first.prompt,
            first=first.completion,
            second=second.completion,
            first_finished=first.finished,
            second_finished=second.finished,
            seed=self._seed,
        )
        name = self._judge.identity.name
        try:
            with closing(self._judge.compare([trial])) as replies:
                _, reply = next(replies)
        except UserError as error:
            raise type(error)(f"watch.judge: a trial question failed: {error}") from error
        if isinstance(reply, JudgeReply) and reply.is_fault and not self._same_run:
            raise ConfigError(f"watch.judge: a trial question failed: {reply.reason}")
        if isinstance(reply, JudgeReply):
            decided = reply.verdict is not None
            return None if decided else f"the judge {name} gave no verdict on a trial question: {reply.reason}"
        if not self._same_run:
            raise RunError(
                f"watch.judge: {name} does not answer a trial question ({reply.reason}); put that right, or train "
                "without a judge: watch.judge=null"
            )
        # Hours of training are not thrown away for a server that may be back at the next validation.
        self._is_down = True
        return f"the judge {name} does not answer at present ({reply.reason})"

    def drop_damaged(self, step: int) -> str | None:
        """Return what answers and judgements are not what the run wrote; those of coming steps are removed."""
        run_dir = self._folder.parent
        files = manifest.changed(run_dir, self._folder.name)
        damaged = [name for name in files if manifest.is_recorded(run_dir, name)]
        for path in (run_dir / name for name in damaged):
            if _step_of(path) > step:
                path.unlink(missing_ok=True)
        manifest.record(run_dir, damaged)
        if not damaged:
            return None
        return (
            f"not what the run wrote: {', '.join(damaged)} in {run_dir}; the judge is asked again where its step is "
            "still to come, and other numbers are those that were measured then"
        )

    def begin(self, step: int, validations: int) -> str:
        """Drop judgements that no longer hold, and say how often the judge will be asked from now on."""
        # Changed settings make other answers: what a step's file holds of before would be taken for this run's.
        dropped = [path for path in self._folder.glob("step-*.jsonl") if not self._same_run and _step_of(path) > step]
        for path in dropped:
            path.unlink()
        manifest.record(self._folder.parent, map(self._recorded, dropped))
        each = 2 * len(self._before)
        return (
            f"judge {self._judge.identity.name}: {len(self._before)} answers against those before training, in both "
            f"orders, at each of {validations} validations: at most {each * validations:,} questions "
            f"({each} a validation; equal answers are not asked about)"
        )

    def numbers(self, step: int, answers: Sequence[Completion]) -> dict[str, Any]:
        """
        Return the win rate of a step's answers against those before training, ties as half, with its interval.

        It is None where the judge failed, and JUDGE_ERROR says why; an exception is never raised.
        """
        judge = _CountingJudge(self._judge)
        # None and not left out: a number that could not be measured is seen as such in the metrics.
        numbers: dict[str, Any] = dict.fromkeys((WIN_RATE, *_ENDS, f"{WIN_RATE}/unscored"))
        try:
            paired = pair_answers(answers, self._before, names=(f"step {step}", _BEFORE))
            error = self._measure(judge, paired, step, numbers)
            manifest.record(self._folder.parent, map(self._recorded, self._files(step)))
        except Exception as failed:  # noqa: BLE001 - whatever a judge does, the training goes on
            error = str(failed) if isinstance(failed, UserError) else f"{type(failed).__name__}: {failed}"
        self._is_down = bool(error) and numbers[WIN_RATE] is None
        numbers["sampled/judge/questions"] = judge.asked
        if judge.cost is not None:
            numbers["sampled/judge/cost"] = judge.cost
        return numbers | ({JUDGE_ERROR: error} if error else {})

    def _measure(self, judge: "_CountingJudge", paired: AnswerPairs, step: int, numbers: dict[str, Any]) -> str:
        """Ask, and put what comes out into `numbers`; return what went wrong, or ""."""
        answers, out = self._files(step)
        write_jsonl(answers, (row_to_json(pair.candidate) for pair in paired.pairs))
        if self._is_down:
            # A server that hangs would hold up every validation for as long as all its questions take.
            tried = judge_pairs(judge, first_prompts(paired, 1), out, seed=self._seed)
            if tried.unanswered:
                return tried.unanswered[0]
        judged = judge_pairs(judge, paired, out, seed=self._seed)
        pairs = comparisons(judged.judgements)
        rate = win_rate([pair.preference for pair in pairs], [pair.prompt_id for pair in pairs], seed=self._seed)
        scored = rate.wins + rate.ties + rate.losses
        numbers[f"{WIN_RATE}/unscored"] = len(paired.pairs) - scored
        if rate.score is not None:
            numbers |= zip((WIN_RATE, *_ENDS), (rate.score.value, rate.score.low, rate.score.high), strict=True)
        if judged.unanswered:
            return f"{len(judged.unanswered)} of {2 * len(paired.pairs)} questions, the first: {judged.unanswered[0]}"
        if rate.score is None:
            reason = next((judgement.reason for judgement in judged.judgements if judgement.verdict is None), "")
            return f"{scored} of {len(paired.pairs)} prompts have a verdict in both orders; {reason}"
        return ""

    def _files(self, step: int) -> tuple[Path, Path]:
        """Return the files of a step's answers and of the judgements of them."""
        return self._folder / f"step-{step:06}.answers.jsonl", self._folder / f"step-{step:06}.judgements.jsonl"

    def _recorded(self, path: Path) -> str:
        """Return what a file is called in the run's manifest."""
        return f"{self._folder.name}/{path.name}"


def _step_of(path: Path) -> int:
    return int(path.name.removeprefix("step-").partition(".")[0])


@dataclass(slots=True)
class _CountingJudge:
    """A judge that counts what it is asked, and what that costs."""

    judge: Judge
    asked: int = 0
    cost: float | None = None

    @property
    def identity(self) -> Identity:
        return self.judge.identity

    def compare(self, comparisons: Sequence[OrderedPair]) -> Generator[tuple[int, JudgeReply | NoReply], None, None]:
        with closing(self.judge.compare(comparisons)) as replies:
            for index, reply in replies:
                self.asked += 1
                if isinstance(reply, JudgeReply) and reply.cost is not None:
                    self.cost = (self.cost or 0.0) + reply.cost
                yield index, reply
