"""`haloes serve`: answer chats, keep them, and collect votes."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def serve(
    run: Annotated[Path | None, Parameter(name=["RUN"])] = None,
    /,
    *,
    upstream: str | None = None,
    key_env: str | None = None,
    store: Path | None = None,
    compare: str | None = None,
    prompts: str | None = None,
    host: str = "127.0.0.1",
    port: int = 8321,
    token_env: str | None = None,
    allow_host: Annotated[tuple[str, ...], Parameter(negative=())] = (),
) -> None:
    """Serve a run's model, or stand before another server, and collect votes on what it says.

    It speaks as OpenAI's server does, has a page to chat, compare and rate, and keeps all in one SQLite file that
    `haloes doctor`, `haloes train` and `haloes eval` read. It needs the extra `web`. Ctrl-C ends it.

    Parameters
    ----------
    run
        A run's folder: its model is called "after", the one before training "before".
    upstream
        In its place a server of the OpenAI kind, such as http://localhost:11434/v1; its replies pass through unchanged.
    key_env
        The NAME of the environment variable that holds the upstream's key; without it a client's own is passed on.
    store
        The file of answers and votes; collected.db in the run's folder, or in the current one.
    compare
        The names of the upstream's two models that are compared, A,B; the first is the one under test.
    prompts
        What models are compared on: a run's folder, a feedback file, a file of prompts, or "everyday". Of a run its
        held-out prompts if left out.
    host
        The address to bind; one that other machines can ask takes a token.
    port
        Its port; 0 for any that is free.
    token_env
        The NAME of the environment variable that holds the token that every request must bring.
    allow_host
        A further name under which browsers may ask the server; may be given several times.
    """
    import haloes.api.serving
    from haloes.cli.views.output import say
    from haloes.progress.display import Display

    def ready(url: str, place: Path) -> None:
        say(f"haloes serves {upstream or run} at {url}\nAnswers and votes go to {place}; Ctrl-C ends it.")

    haloes.api.serving.serve(
        run,
        upstream=upstream,
        key_env=key_env,
        store=store,
        compare=() if compare is None else tuple(name.strip() for name in compare.split(",")),
        prompts=prompts,
        host=host,
        port=port,
        token_env=token_env,
        allow_hosts=allow_host,
        ready=ready,
        progress=Display(),
    )
