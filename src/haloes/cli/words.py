"""`haloes words`: the words that haloes uses, each with one plain sentence."""

from typing import Annotated

from cyclopts import Parameter


def words(word: Annotated[str | None, Parameter(name=["WORD"])] = None, /) -> None:
    """Explain the words that haloes uses, such as AUC, KL, nats, margin and z0, with one plain sentence each.

    Parameters
    ----------
    word
        A word to explain; all of them if left out.
    """
    from haloes.cli.views.output import say, show
    from haloes.cli.views.tables import table
    from haloes.words import WORDS, explain

    if word is None:
        columns = ("Word", "What it means")
        show([table("", columns, sorted(WORDS.items(), key=lambda entry: entry[0].casefold()), whole=columns[:1])])
        return
    for name, sentence in explain(word).items():
        say(f"{name}: {sentence}")
