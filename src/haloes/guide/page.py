"""The documentation's page of losses, as Markdown, from what the losses say about themselves."""

from collections.abc import Iterable, Iterator, Mapping

from haloes.guide.explain import Explanation, explain_all, halo_verdict

_INTRODUCTION = """\
# The losses

This page is written by `make docs` from the losses' own source; edit that instead. `haloes losses show NAME` shows one
of them in the terminal, `haloes losses plot NAME ...` draws what it makes of good and bad answers, and
`haloes losses recommend FILE` says which suits your feedback.

*Labels* are good and bad single answers, *scores* are numbers for them, *pairs* a chosen and a rejected answer to one
prompt. The *reference* is the model before training. *Mismatched answers* stand under prompts that they do not belong
to, for a reference point; they cost about a third of a step. Whether a loss is a human-aware loss (*HALO*) is checked
on numbers, against Definition 3.4 of the KTO paper (ICML text).
"""


def losses_page() -> str:
    """Write the page of all losses: a table of each group, then each loss with its formula and hyperparameters."""
    groups = explain_all()
    verdicts = {loss.name: halo_verdict(loss.name) for group in groups.values() for loss in group}
    parts = [_INTRODUCTION]
    for title, group in groups.items():
        parts.append(f"## {title}\n\n{_table(group, verdicts)}")
    parts += [
        "## Each loss",
        *("\n".join(_section(loss, verdicts[loss.name])) for group in groups.values() for loss in group),
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _table(group: Iterable[Explanation], verdicts: Mapping[str, str]) -> str:
    rows = ["| loss | | needs | HALO | when |", "| --- | --- | --- | --- | --- |"]
    for loss in group:
        answer = verdicts[loss.name].partition(":")[0]
        cells = (f"[`{loss.name}`](#{loss.name})", loss.about.title, loss.needs_text, answer, loss.about.use)
        rows.append(f"| {' | '.join(_cell(cell) for cell in cells)} |")
    return "\n".join(rows)


def _section(loss: Explanation, judged: str) -> Iterator[str]:
    about = loss.about
    yield f"### {loss.name}\n"
    yield f"**{_text(about.title)}** ({_text(about.source)})\n"
    for block in loss.blocks:
        yield f"```text\n{block.text}\n```\n" if block.is_formula else f"{_text(block.text)}\n"
    for name, text in (
        ("Reward", about.reward),
        ("Reference point", about.reference_point),
        ("Value", about.value),
        ("Human-aware", judged),
        ("Needs", loss.needs_text),
        ("When", about.use),
    ):
        yield f"- {name}: {_text(text)}"
    if loss.hyperparameters:
        yield "\n| setting | default | |\n| --- | --- | --- |"
        for each in loss.hyperparameters:
            yield f"| `{each.name}` | {_cell(f'`{each.default}`')} | {_cell(each.text)} |"


def _cell(text: str) -> str:
    return _text(text).replace("|", "\\|")


def _text(text: str) -> str:
    """Escape a * b and <|good|>, which Markdown would read as markup, where they do not stand in `code`."""
    parts = text.split("`")
    parts[::2] = [part.replace("*", "\\*").replace("<", "&lt;") for part in parts[::2]]
    return "`".join(parts)
