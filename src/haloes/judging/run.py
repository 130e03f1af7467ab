"""Have pairs of answers judged in both orders, so that no judgement is lost or asked for twice."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from haloes.errors import ConfigError, RunError
from haloes.journal import Journal
from haloes.judging._contract import Identity, Judge, JudgeReply, OrderedPair, usable
from haloes.judging.canaries import CANARY, canaries
from haloes.judging.pairs import AnswerPair, AnswerPairs
from haloes.locks import hold_file
from haloes.records import Judgement
from haloes.records_json import judgement_from_json, row_to_json, text_to_json

_PATIENCE = 8
"""Comparisons in a row without a reply after which the judge is taken to be gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgingOutcome:
    """All judgements of a file, and the comparisons that still have none."""

    judgements: tuple[Judgement, ...]
    """Judgements of the candidate against the baseline, in the order of the pairs."""
    canaries: tuple[Judgement, ...]
    """Judgements of answers that only ask to be chosen, against the baseline."""
    num_new: int
    """Number of judgements that were not in the file before."""
    unanswered: tuple[str, ...]
    """Reasons why comparisons have no judgement, one each; the same call asks for them again."""


@dataclass(frozen=True, slots=True)
class _Question:
    """A pair in one of its two orders."""

    pair: AnswerPair
    candidate: str
    baseline: str
    is_canary: bool
    candidate_first: bool
    fingerprint: str
    comparison: OrderedPair

    @property
    def place(self) -> tuple[str, int, bool]:
        """Return what it asks about, whatever the answers are."""
        return self.pair.prompt_id, self.pair.draw, self.candidate_first


def judge_pairs(
    judge: Judge,
    paired: AnswerPairs,
    out: Path,
    *,
    num_canaries: int = 0,
    again: bool = False,
    seed: int = 0,
    advance: Callable[[int], None] | None = None,
) -> JudgingOutcome:
    """Have the pairs of two models judged: as `judge_several`, which takes those of several."""
    return judge_several(judge, [paired], out, num_canaries=num_canaries, again=again, seed=seed, advance=advance)


def judge_several(
    judge: Judge,
    sets: Sequence[AnswerPairs],
    out: Path,
    *,
    num_canaries: int = 0,
    again: bool = False,
    seed: int = 0,
    advance: Callable[[int], None] | None = None,
) -> JudgingOutcome:
    """
    Have each pair judged in both orders, and write each judgement to `out` as it comes.

    Judgements that `out` holds are not asked for again. Two equal answers are a tie that nobody is asked about. The
    judgements of canaries go into a file of their own beside it (`canary_path`).

    Args:
        judge: the judge that is asked.
        sets: the answers, those of each two models together.
        out: the file of judgements (.jsonl); new, or of an earlier start with the same answers and the same judge.
        num_canaries: number of prompts for which a canary answer is mixed in.
        again: ask again where a reply on disk holds no verdict.
        seed: seed of the delimiters and the canaries; sent to judges that draw their replies.
        advance: called with the number of comparisons that were just done, first with those that were on disk.

    Raises:
        RunError: the judge is gone, `out` holds judgements of other answers or another judge, or another process adds
            to it. What was judged stays.
        UserError: what the judge itself raises.
    """
    if num_canaries < 0:
        raise ConfigError(f"the number of canaries must be at least 0, got {num_canaries}")
    # Two judges at one file would ask everything twice, and the one that ends first would put the other's lines away.
    with hold_file(out):
        return _judge_several(judge, sets, out, num_canaries=num_canaries, again=again, seed=seed, advance=advance)


def _judge_several(
    judge: Judge,
    sets: Sequence[AnswerPairs],
    out: Path,
    *,
    num_canaries: int,
    again: bool,
    seed: int,
    advance: Callable[[int], None] | None,
) -> JudgingOutcome:
    """Carry `judge_several` out on a file that no other process adds to."""
    identity = judge.identity
    questions = [
        question for paired in sets for question in _questions(paired, identity, num_canaries=num_canaries, seed=seed)
    ]
    journals = {False: judgement_journal(out)}
    if num_canaries:
        journals[True] = judgement_journal(canary_path(out))
    kept = {mark: _resume(journal, questions, identity) for mark, journal in journals.items()}
    done = {judgement.fingerprint: judgement for rows in kept.values() for judgement in rows}
    missing = [q for q in questions if q.fingerprint not in done or (again and done[q.fingerprint].verdict is None)]
    if advance is not None:
        advance(len(questions) - len(missing))

    def write(question: _Question, reply: JudgeReply) -> None:
        judgement = _judgement(question, reply, identity, seed)
        journals[question.is_canary].add(judgement)
        kept[question.is_canary].append(judgement)
        done[question.fingerprint] = judgement
        if advance is not None:
            advance(1)

    unanswered = _ask(judge, missing, write)
    order = {question.fingerprint: i for i, question in enumerate(questions)}
    for mark, journal in journals.items():
        put_in_order(journal, kept[mark], order)
    answered = [(q.is_canary, done[q.fingerprint]) for q in questions if q.fingerprint in done]
    return JudgingOutcome(
        judgements=tuple(judgement for is_canary, judgement in answered if not is_canary),
        canaries=tuple(judgement for is_canary, judgement in answered if is_canary),
        num_new=len(missing) - len(unanswered),
        unanswered=tuple(unanswered),
    )


def canary_path(out: Path) -> Path:
    """Return the file for the judgements of canaries."""
    return out.with_name(f"{out.stem}.canaries{out.suffix}")


def _ask(judge: Judge, questions: Sequence[_Question], write: Callable[[_Question, JudgeReply], None]) -> list[str]:
    """Ask, and return why comparisons without a reply have none. Raises RunError where the judge has gone."""
    # A judge that prefers a place would see a winner between two equal texts.
    asked = []
    for question in questions:
        if question.comparison.first == question.comparison.second:
            write(question, JudgeReply(verdict="tie", preference=0.5, reason="the two answers are the same text"))
        else:
            asked.append(question)
    unanswered: list[str] = []
    in_a_row = 0
    with closing(judge.compare([question.comparison for question in asked])) as replies:
        for place, reply in replies:
            if isinstance(reply, JudgeReply):
                write(asked[place], usable(reply))
                in_a_row = 0
                continue
            unanswered.append(f"prompt {asked[place].pair.prompt_id}: {reply.reason}")
            in_a_row += 1
            if in_a_row == _PATIENCE:
                raise RunError(
                    f"the judge {judge.identity.name} does not answer any more ({reply.reason}). All that it said "
                    "before is kept, and the same command asks for the rest"
                )
    return unanswered


def _questions(paired: AnswerPairs, identity: Identity, *, num_canaries: int, seed: int) -> Iterator[_Question]:
    """Yield each pair in both orders, and after it the canary of its prompt."""
    extra = {pair.prompt_id: pair for pair in canaries(paired.pairs, num_canaries, seed=seed)}
    for pair in paired.pairs:
        for first in (True, False):
            yield _question(pair, paired.candidate, paired.baseline, identity, seed=seed, candidate_first=first)
        if pair.draw == 0 and pair.prompt_id in extra:
            for first in (True, False):
                canary = extra[pair.prompt_id]
                yield _question(
                    canary, CANARY, paired.baseline, identity, seed=seed, candidate_first=first, is_canary=True
                )


def _question(
    pair: AnswerPair,
    candidate: str,
    baseline: str,
    identity: Identity,
    *,
    seed: int,
    candidate_first: bool,
    is_canary: bool = False,
) -> _Question:
    sides = (pair.candidate, pair.baseline) if candidate_first else (pair.baseline, pair.candidate)
    comparison = OrderedPair(
        prompt_id=pair.prompt_id,
        prompt=pair.candidate.prompt,
        first=sides[0].completion,
        second=sides[1].completion,
        first_finished=sides[0].finished,
        second_finished=sides[1].finished,
        seed=seed,
    )
    # Everything that a reply may depend on: with any of it changed, a judgement on disk is of another question.
    content = {
        "prompt": [pair.prompt_id, text_to_json(comparison.prompt)],
        "answers": [comparison.first, comparison.second, comparison.first_finished, comparison.second_finished],
        "models": [candidate, baseline, candidate_first, pair.draw],
        "judge": [identity.name, identity.template, dict(identity.settings), seed],
    }
    code = hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:24]
    return _Question(pair, candidate, baseline, is_canary, candidate_first, code, comparison)


def judgement_journal(path: Path) -> Journal[Judgement]:
    """
    Return the journal of a file of judgements.

    Raises:
        ConfigError: the file's name has another ending than .jsonl.
    """
    if path.suffix != ".jsonl":
        raise ConfigError(f"{path}: give a name that ends in .jsonl; judgements are added to it line by line")
    return Journal(
        path,
        first_key="prompt_id",
        load=lambda row, where: judgement_from_json(row, where=where),
        dump=lambda judgement: json.dumps(row_to_json(judgement), ensure_ascii=False, allow_nan=False),
        advice="what was judged before is there, and the same command goes on from it",
    )


def put_in_order(journal: Journal[Judgement], judgements: Sequence[Judgement], order: Mapping[str, int]) -> None:
    """
    Put the lines in this order of their fingerprints, others last: replies come in any, and files are compared.

    Of two judgements of one question, the later one stays.
    """
    # Without a fingerprint, as in files of other origin, each stands for itself.
    latest = {judgement.fingerprint or number: judgement for number, judgement in enumerate(judgements)}
    ranked = sorted(latest.values(), key=lambda judgement: order.get(judgement.fingerprint, len(order)))
    if ranked != list(judgements):
        journal.rewrite(ranked)


def _resume(journal: Journal[Judgement], questions: Sequence[_Question], identity: Identity) -> list[Judgement]:
    """Return the judgements on disk. Raises RunError where they are of other answers, models or another judge."""
    wanted = {question.fingerprint for question in questions}
    places = {(question.candidate, question.baseline, *question.place) for question in questions}
    models = {(question.candidate, question.baseline) for question in questions}

    def check(judgements: Sequence[Judgement]) -> None:
        for judgement in judgements:
            place = (judgement.prompt_id, judgement.draw, judgement.candidate_first)
            other = [
                text
                for text, differs in (
                    (f"the judge {judgement.judge}", judgement.judge != identity.name),
                    (f"the template {judgement.template!r}", judgement.template != identity.template),
                    (f"{judgement.candidate} against {judgement.baseline}", _models(judgement) not in models),
                    (
                        f"other answers to prompt {judgement.prompt_id!r}, or other settings of the judge",
                        (*_models(judgement), *place) in places and judgement.fingerprint not in wanted,
                    ),
                )
                if differs
            ]
            if other:
                raise RunError(
                    f"{journal.path} holds judgements of something else ({other[0]}); give another --out, or remove it"
                )

    return journal.resume(check)


def _models(judgement: Judgement) -> tuple[str, str]:
    return judgement.candidate, judgement.baseline


def _judgement(question: _Question, reply: JudgeReply, identity: Identity, seed: int) -> Judgement:
    # The judge speaks of the places, the record of the candidate.
    preference = reply.preference
    if preference is not None and not question.candidate_first:
        preference = 1 - preference
    return Judgement(
        prompt_id=question.pair.prompt_id,
        candidate=question.candidate,
        baseline=question.baseline,
        candidate_first=question.candidate_first,
        verdict=reply.verdict,
        preference=preference,
        reply=_storable(reply.reply),
        reason=_storable(reply.reason),
        judge=identity.name,
        template=identity.template,
        seed=seed,
        draw=question.pair.draw,
        fingerprint=question.fingerprint,
        candidate_length=len(question.pair.candidate.completion),
        baseline_length=len(question.pair.baseline.completion),
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
        cost=reply.cost,
    )


def _storable(text: str) -> str:
    """Replace lone surrogates, which JSON can escape and UTF-8 cannot hold."""
    return text.encode(errors="replace").decode()
