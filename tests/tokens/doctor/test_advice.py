"""When the doctor speaks up about tokens, and when it keeps quiet."""

from dataclasses import replace

from haloes.feedback.doctor.findings import DataAdvice, Tally
from haloes.tokens.doctor.advice import advise
from haloes.tokens.doctor.inspect import RenderingDifference, TokenFindings

HEALTHY = TokenFindings(
    num_rows=1000,
    num_encoded=1000,
    window=512,
    has_chat_template=True,
    end_of_turn="<|im_end|>",
    lengths=(),
    longest=400,
    num_over_window=0,
    prompts_cut=Tally(),
    completions_cut=Tally(),
    refusals={},
    disagreements=Tally(),
    difference=None,
    previews=(),
)


def only(findings: TokenFindings) -> DataAdvice:
    [found] = advise(findings)
    return found


def test_rows_that_all_fit_get_no_advice() -> None:
    assert advise(HEALTHY) == []


def test_rows_that_cannot_be_encoded_are_a_warning_with_the_way_to_leave_them_out() -> None:
    refusals = {"chat template": Tally(2, ("f:1: no", "f:2: no")), "nothing to train on": Tally(1, ("f:3: no",))}

    found = only(replace(HEALTHY, num_encoded=997, refusals=refusals))

    assert (found.severity, found.name) == ("warning", "rows that cannot be encoded")
    assert found.finding.startswith("3 of 1000 (0.3%) rows")
    assert '"chat template"' in found.finding
    assert "--set feedback.skip_refused=true" in found.action


def test_no_row_that_can_be_encoded_is_an_error() -> None:
    found = only(replace(HEALTHY, num_encoded=0, refusals={"chat template": Tally(1000)}))

    assert found.severity == "error"
    assert "skip_refused" not in found.action


def test_cut_completions_are_a_warning_with_the_length_that_helps() -> None:
    found = only(replace(HEALTHY, completions_cut=Tally(10), num_over_window=10, longest=700))

    assert (found.severity, found.name) == ("warning", "completions cut")
    assert "10 of 1000 (1.0%)" in found.finding
    assert "tokens.max_length (no row is longer than 700)" in found.action


def test_cut_prompts_are_a_warning_with_the_length_that_helps() -> None:
    found = only(replace(HEALTHY, prompts_cut=Tally(10), num_over_window=10, longest=700))

    assert (found.severity, found.name) == ("warning", "prompts cut")
    assert "10 of 1000 (1.0%)" in found.finding
    assert "no row is longer than 700" in found.action


def test_a_few_cuts_are_a_note() -> None:
    found = advise(replace(HEALTHY, prompts_cut=Tally(9), completions_cut=Tally(9)))

    assert [advice.severity for advice in found] == ["note", "note"]


def test_a_joint_rendering_that_differs_is_a_note() -> None:
    difference = RenderingDifference(where="f:1", inference="a", joint="b")

    found = only(replace(HEALTHY, disagreements=Tally(1000, ("f:1",)), difference=difference))

    assert (found.severity, found.name) == ("note", "joint rendering differs")


def test_a_tokenizer_without_a_chat_template_is_a_note_where_there_are_rows() -> None:
    found = only(replace(HEALTHY, has_chat_template=False))

    assert (found.severity, found.name) == ("note", "no chat template")
    assert advise(replace(HEALTHY, has_chat_template=False, num_rows=0, num_encoded=0)) == []


def test_the_worst_comes_first() -> None:
    findings = replace(
        HEALTHY,
        disagreements=Tally(1),
        prompts_cut=Tally(1),
        completions_cut=Tally(100),
        num_encoded=999,
        refusals={"x": Tally(1)},
    )

    assert [advice.severity for advice in advise(findings)] == ["warning", "warning", "note", "note"]
