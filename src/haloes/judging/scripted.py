"""A judge with replies from a script: for tests and for trying out a template without a model."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from haloes.judging._contract import Identity, JudgeReply, NoReply, OrderedPair
from haloes.judging.template import load_template


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedJudge:
    """Replies as its script says; the verdict is taken from the reply as from a model's."""

    script: Callable[[OrderedPair], str | None]
    """The reply to a comparison; None for a server that does not answer."""
    template: str = "kto-paper"
    name: str = "scripted"

    @property
    def identity(self) -> Identity:
        """Return its name and template."""
        template = load_template(self.template)
        return Identity(self.name, template.name, {"template": template.digest})

    def compare(self, comparisons: Sequence[OrderedPair]) -> Generator[tuple[int, JudgeReply | NoReply], None, None]:
        """Reply to one after the other."""
        template = load_template(self.template)
        for place, comparison in enumerate(comparisons):
            reply = self.script(comparison)
            if reply is None:
                yield place, NoReply("the script gives no reply")
            else:
                verdict, reason = template.verdict(reply)
                yield place, JudgeReply(verdict=verdict, reason=reason, reply=reply)


def always(reply: str) -> ScriptedJudge:
    """Return a judge that replies the same to everything, such as "Response 1"."""
    return ScriptedJudge(script=lambda _: reply, name=f"always {reply!r}")


def longer() -> ScriptedJudge:
    """Return a judge that prefers the longer answer, and sees no winner between answers of one length."""

    def reply(comparison: OrderedPair) -> str:
        first, second = len(comparison.first), len(comparison.second)
        return "[[C]]" if first == second else "[[A]]" if first > second else "[[B]]"

    return ScriptedJudge(script=reply, template="mt-bench", name="longer")
