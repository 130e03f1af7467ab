"""Advice that follows from the findings: what they mean for training, and what to do. One function a rule."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

from haloes.feedback.doctor.findings import DataAdvice, Findings, PromptCounts, Severity, Tally
from haloes.feedback.doctor.text_signs import CUT_OFF_RULE
from haloes.feedback.personal import NAMES
from haloes.feedback.refusals import OF_EXPORTS
from haloes.feedback.weights import HIGHEST_RATIO, LOWEST_RATIO, is_in_paper_range
from haloes.stats.auc import auc_noise

TELLING_AUC = 0.1
"""Distance from 0.5 from which the AUC of the length matters; it must also be more than chance explains."""
LARGE_USER = 0.2
"""Share of the votes from which one user is worth a warning, if it is also three times an even share."""
LARGE_UNIT = 0.5
"""Share of the answers from which one prompt or component of conversations hampers training or the split."""
MANY = 0.01
"""Share of rows from which duplicates, echoes, markers and cuts are more than an accident."""
CUT_OFF = 0.03
"""Share of the answers from which breaking off is more than a slip of the rule (LOG.md has its slips)."""
HTML = 0.02
"""Share of the answers from which HTML is more than a subject of some of them."""
FEWEST_SIGNS = 3
"""Texts with such a sign below which nothing is said."""

_SEVERITIES: Sequence[Severity] = ("error", "warning", "note")


def advise(findings: Findings) -> list[DataAdvice]:
    """Return what the findings mean for training, the worst first."""
    # Without a row, every other rule would only say the same in other words.
    if findings.num_accepted == 0:
        return list(_nothing_to_train_on(findings))
    return worst_first(advice for rule in _RULES for advice in rule(findings))


def worst_first(advice: Iterable[DataAdvice]) -> list[DataAdvice]:
    """Sort advice by severity, errors first; within one severity the order stays."""
    return sorted(advice, key=lambda each: _SEVERITIES.index(each.severity))


def severity_of_share(num: int, total: int) -> Severity:
    """Return "warning" from a share of `MANY` on, and "note" below it."""
    return "warning" if num >= MANY * total else "note"


def share_of(num: int, total: int) -> str:
    """Return a share in words: "3 of 12 (25.0%)"."""
    return f"{num} of {total} ({num / total:.1%})"


def _nothing_to_train_on(findings: Findings) -> Iterator[DataAdvice]:
    reason = next(iter(findings.refusals), None)
    yield DataAdvice(
        severity="error",
        name="nothing to train on",
        finding="no row can be used" if findings.num_read else "there are no rows",
        meaning="there is nothing to learn from",
        action=f'see the places refused for "{reason}"' if reason else "check the path, and that the file is not empty",
    )


def _refusals(findings: Findings) -> Iterator[DataAdvice]:
    if num_faults := findings.num_refused - findings.num_left_out:
        yield DataAdvice(
            severity="warning",
            name="refused rows",
            finding=f"{share_of(num_faults, findings.num_read)} rows were refused",
            meaning="they are left out of training",
            action="correct them at the places named, or accept the loss",
        )
    num_unused = sum(tally.num for reason, tally in findings.refusals.items() if reason in OF_EXPORTS - {"no verdict"})
    if num_unused:
        yield DataAdvice(
            severity="note",
            name="votes left out",
            finding=f"{share_of(num_unused, findings.num_read)} votes of the export are not used, as listed above",
            meaning="they are left out of training, and counted",
            action="nothing: every log has such votes; look at the examples where there are many",
        )
    if num_undecided := findings.num_left_out - num_unused:
        yield DataAdvice(
            severity="note",
            name="rows left out",
            finding=f"{share_of(num_undecided, findings.num_read)} rows say neither good nor bad: nobody rated "
            "the answer, its score lies in the dead zone of the rule that makes labels, or two answers are a tie",
            meaning="they are left out of training, and counted",
            action="nothing: such rows are in the nature of feedback",
        )


def _labels(findings: Findings) -> Iterator[DataAdvice]:
    balance = findings.balance
    num_labelled = balance.num_desirable + balance.num_undesirable
    if num_labelled == 0:
        yield DataAdvice(
            severity="error",
            name="no labels",
            finding="rows have scores and no labels",
            meaning="losses on thumbs need to know which answers are desirable",
            action="choose a rule that turns scores into labels: threshold, mean, median or bernoulli",
        )
        return
    if balance.num_unlabelled:
        yield DataAdvice(
            severity="warning",
            name="some rows without label",
            finding=f"{share_of(balance.num_unlabelled, findings.num_answers)} answers have a score and no label",
            meaning="they cannot be trained on as they are",
            action="choose a rule that turns scores into labels, or leave them out",
        )
    if balance.ratio is None:
        label = "desirable" if balance.num_desirable else "undesirable"
        yield DataAdvice(
            severity="warning",
            name="one label only",
            finding=f"all {num_labelled} answers are {label}",
            meaning="the model is only pulled towards them or pushed away, and the AUC that shows success is undefined",
            action="add answers of the other label; check that the label column was read as meant",
        )


def _balance(findings: Findings) -> Iterator[DataAdvice]:
    balance = findings.balance
    if balance.ratio is None or is_in_paper_range(balance.ratio):
        return
    rarer = "desirable" if balance.ratio < LOWEST_RATIO else "undesirable"
    weight = balance.weights.desirable if rarer == "desirable" else balance.weights.undesirable
    yield DataAdvice(
        severity="note",
        name="imbalance",
        finding=f"n_desirable / n_undesirable is {balance.ratio:.3g}, outside [{LOWEST_RATIO:g}, {HIGHEST_RATIO:g}]",
        meaning=f"unweighted, the {rarer} answers count too little (KTO paper, eq. 9)",
        action=f"nothing: the class weights are auto by default, and loss.{rarer}_weight is {weight:.4g} then",
    )


def _prompts(findings: Findings) -> Iterator[DataAdvice]:
    prompts = findings.prompts
    if prompts is None:
        return
    if prompts.num == 1:
        yield DataAdvice(
            severity="error",
            name="one prompt only",
            finding="all rows answer the same prompt",
            meaning="KTO compares with answers to other prompts, and there are none; nor can any prompt be held out",
            action="add feedback on other prompts; check that the prompt column and the groups were read as meant",
        )
        return
    if prompts.largest_share > LARGE_UNIT:
        yield DataAdvice(
            severity="warning",
            name="one prompt prevails",
            finding=f"one prompt has {prompts.largest_share:.0%} of the answers",
            meaning="steps may hold too few other prompts for KTO's mismatched pairs",
            action="keep fewer answers per prompt (one_per_prompt)",
        )
    elif prompts.num_units == 1:
        yield DataAdvice(
            severity="warning",
            name="no split possible",
            finding="all rows hang together through shared prompts and conversations",
            meaning="no validation set exists that shares neither with the training set",
            action="give a separate validation file, or correct the conversation ids",
        )
    elif prompts.largest_unit_share > LARGE_UNIT:
        yield DataAdvice(
            severity="warning",
            name="rows hang together",
            finding=f"{prompts.largest_unit_share:.0%} of the answers hang together by prompts and conversations",
            meaning="they must stay on one side of a train/validation split, so some validation shares cannot be met",
            action="correct the conversation ids if they are too coarse, or give a separate validation file",
        )
    yield from _answers_per_prompt(findings, prompts)


def _answers_per_prompt(findings: Findings, prompts: PromptCounts) -> Iterator[DataAdvice]:
    if prompts.num_with_several_answers and findings.num_answers > 2 * findings.num_pairs:
        yield DataAdvice(
            severity="note",
            name="several answers per prompt",
            finding=f"{share_of(prompts.num_with_several_answers, prompts.num)} prompts have several answers "
            f"(median {prompts.median_answers}, most {prompts.max_answers})",
            meaning="they never serve each other as mismatched answers, and stay together in a split",
            action="nothing; to give every prompt the same say, keep one answer each (one_per_prompt)",
        )
    if prompts.num_torn_prompts:
        yield DataAdvice(
            severity="warning",
            name="one prompt under several groups",
            finding=f"prompts that occur under different groups: {prompts.num_torn_prompts}",
            meaning="they count as different prompts: validation may hold what was trained on",
            action="leave out the group column, or give equal prompts equal groups",
        )
    if prompts.num_wide_groups:
        yield DataAdvice(
            severity="note",
            name="groups of several prompts",
            finding=f"groups that hold more than one prompt: {prompts.num_wide_groups}",
            meaning="prompts of one group stay together in a split and are never mismatched with each other",
            action="nothing if that is meant; otherwise leave out the group column",
        )


def _repeats(findings: Findings) -> Iterator[DataAdvice]:
    duplicates, conflicts = findings.repeats.duplicates, findings.repeats.conflicts
    if duplicates.num:
        yield DataAdvice(
            severity=severity_of_share(duplicates.num, findings.num_accepted),
            name="duplicates",
            finding=f"{share_of(duplicates.num, findings.num_accepted)} rows repeat an earlier row{_at(duplicates)}",
            meaning="each copy counts once more in the loss",
            action="nothing if they are votes of different people; otherwise remove the copies",
        )
    if conflicts.num:
        pairs = " (in pairs, an answer that wins one and loses another)" if findings.num_pairs else ""
        yield DataAdvice(
            severity="warning",
            name="conflicts",
            finding=f"answers rated both ways{pairs}: {conflicts.num}, "
            f"with {findings.repeats.num_conflicting_votes} votes{_at(conflicts)}",
            meaning="such votes cancel in part: the model learns from the majority, slowly",
            action="keep them if people disagree; if one of the ratings is a mistake, correct it",
        )


def _answers(findings: Findings) -> Iterator[DataAdvice]:
    texts = findings.texts
    cases: tuple[tuple[Severity, str, Tally, str, str, str], ...] = (
        ("warning", "empty answers", texts.empty, "are empty", "the model is taught to end its turn at once, or not to",
         "leave them out, unless silence is an answer"),
        ("note", "answers without words", texts.wordless, "hold neither letter nor digit", "they may be failed answers",
         "look at them, and leave out what is no answer"),
        ("note", "whitespace", texts.padded, "begin or end with whitespace", "the model is taught to write it",
         "strip the answers if it has no meaning"),
        (severity_of_share(texts.echoes.num, findings.num_answers), "echoes", texts.echoes,
         "begin with the user's whole last turn", "the model is taught to repeat it",
         "remove the prompt from the answers if the export put it there"),
    )  # fmt: skip
    for severity, name, tally, what, meaning, action in cases:
        if tally.num:
            finding = f"{share_of(tally.num, findings.num_answers)} answers {what}{_at(tally)}"
            yield DataAdvice(severity=severity, name=name, finding=finding, meaning=meaning, action=action)


def _broken_texts(findings: Findings) -> Iterator[DataAdvice]:
    cut_off, html = findings.texts.cut_off, findings.texts.html
    if cut_off.num >= max(FEWEST_SIGNS, CUT_OFF * findings.num_answers):
        yield DataAdvice(
            severity="warning",
            name="answers cut off",
            finding=f"{share_of(cut_off.num, findings.num_answers)} answers seem to break off{_at(cut_off)}; the rule: "
            f"{CUT_OFF_RULE}",
            meaning="trained to their end, they would teach the model to end its turn in mid-sentence; `haloes train` "
            "does not train the end of what looks so (feedback.cut_off=guess), and this rule may be wrong either way",
            action="give a column `finished` (of pairs chosen_finished, rejected_finished) that says of each answer "
            "whether it ended; or leave those out that did not",
        )
    if html.num >= max(FEWEST_SIGNS, HTML * findings.num_answers):
        yield DataAdvice(
            severity="warning",
            name="HTML",
            finding=f"texts with HTML tags or entities outside of code: {html.num} in {findings.num_answers} "
            f"answers{_at(html)}",
            meaning="the model is taught to write HTML, which may come from a page or an editor, not from the answer",
            action="convert HTML to plain text or Markdown, unless the answers are meant to be HTML",
        )


def _markers(findings: Findings) -> Iterator[DataAdvice]:
    for marker, tally in findings.texts.markers.items():
        yield DataAdvice(
            severity=severity_of_share(tally.num, findings.num_accepted),
            name="template markers",
            finding=f"{marker!r} stands in the text of {share_of(tally.num, findings.num_accepted)} rows{_at(tally)}",
            meaning="the text was rendered with a chat template before, or several turns run together: the model would "
            "be given its template twice",
            action="give messages or plain text without markers; transcripts are split where their format is known",
        )


def _lengths(findings: Findings) -> Iterator[DataAdvice]:
    auc, balance = findings.length_auc, findings.balance
    if auc is None:
        return
    distance = auc.value - 0.5
    # Three standard deviations: among few rows an AUC of 0.65 is nothing.
    if distance < TELLING_AUC or distance < 3 * auc_noise(balance.num_desirable, balance.num_undesirable):
        return
    which = "longer" if "longer is better" in auc.label else "shorter"
    yield DataAdvice(
        severity="warning",
        name="length separates the labels",
        finding=f"the desirable answer of two is the {which} one in {auc.value:.0%} of cases (95% "
        f"interval {auc.low:.0%} to {auc.high:.0%})",
        meaning=f"a model can please by {which} answers alone, and a validation AUC up to this shows nothing else",
        action="compare lengths before and after training; if length is not what people meant, add feedback in which "
        f"{which} answers are undesirable",
    )


def _users(findings: Findings) -> Iterator[DataAdvice]:
    users = findings.users
    largest = users.largest
    # With three users each gives about a third, which is no imbalance.
    if largest is not None and largest.share >= max(LARGE_USER, 3 / users.num):
        yield DataAdvice(
            severity="warning",
            name="one user prevails",
            finding=f"user {largest.name} gave {largest.share:.0%} of the votes ({largest.num_votes})",
            meaning="the model learns this user's taste more than that of the others",
            action="lower the weight of this user's rows, or take a part of them",
        )
    if users.num_one_sided:
        most = ", ".join(
            f"{user.name} ({user.num_votes} times {'desirable' if user.share_desirable else 'undesirable'})"
            for user in users.one_sided
        )
        yield DataAdvice(
            severity="warning",
            name="one-sided users",
            finding=f"users who always vote the same, more than chance explains: {users.num_one_sided}, such as {most}",
            meaning="such votes say more about the user than about the answers",
            action="look at their rows; leave them out if they were given without reading",
        )


def _personal(findings: Findings) -> Iterator[DataAdvice]:
    if findings.personal:
        kinds = ", ".join(f"{NAMES[kind]} in {rows.num}" for kind, rows in findings.personal.items())
        yield DataAdvice(
            severity="warning",
            name="personal data",
            finding=f"rows hold what looks like personal data: {kinds} of {findings.num_accepted} rows",
            meaning="the model may learn it by heart and tell it to others; files written from these rows hold it too",
            action="--scrub (feedback.scrub) puts placeholders in its place; it goes by pattern, so that names and "
            "streets stay",
        )


_Rule: TypeAlias = Callable[[Findings], Iterator[DataAdvice]]
_RULES: tuple[_Rule, ...] = (
    _refusals, _labels, _balance, _prompts, _repeats, _answers, _broken_texts, _markers, _lengths, _users, _personal,
)  # fmt: skip


def _at(tally: Tally) -> str:
    more = ", ..." if tally.num > len(tally.examples) else ""
    return f" ({', '.join(tally.examples)}{more})" if tally.examples else ""
