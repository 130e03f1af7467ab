"""Serve a model, and collect feedback on what it says."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from haloes.api.arguments import PathLike, ProgressLike, as_path, showing
from haloes.errors import ConfigError
from haloes.run_files import COLLECTED


def serve(
    run: PathLike | None = None,
    *,
    upstream: str | None = None,
    key_env: str | None = None,
    store: PathLike | None = None,
    compare: Sequence[str] = (),
    prompts: str | None = None,
    host: str = "127.0.0.1",
    port: int = 8321,
    token_env: str | None = None,
    allow_hosts: Sequence[str] = (),
    ready: Callable[[str, Path], None] | None = None,
    progress: ProgressLike = "auto",
) -> None:
    """
    Serve a run's model, or stand before another server, and keep answers and votes, until Ctrl-C.

    Args:
        run: a run's folder: its model is called "after", the one before training "before".
        upstream: in its place a server of the OpenAI kind, such as http://localhost:11434/v1.
        key_env: the NAME of the environment variable with the upstream's key.
        store: the file of answers and votes; collected.db in the run's folder, or in the current one.
        compare: names of the upstream's two models that are compared, the one under test first.
        prompts: prompts for comparisons: a run's folder, a feedback file, a file of prompts, or "everyday".
        host: the address to bind; one that other machines can ask takes a token.
        port: its port; 0 for any that is free.
        token_env: the NAME of the environment variable with the token that every request must bring.
        allow_hosts: further names under which browsers may ask the server.
        ready: told the page's address and the store once requests are taken; chats wait until the models are
            loaded.
        progress: told how far the loading is; shown in a terminal or notebook if left out, None for silence.

    Raises:
        ConfigError: arguments that do not fit together, or packages that are missing.
        RunError: the folder holds no trained run, the address is taken, or another server holds the store.
        DataError: the store is some other file, or there are no prompts.
        ModelError: a model cannot be loaded.
    """
    from haloes.serving.run import Address, bound, check_installed, check_is_trained, serve_until_stopped

    folder = as_path(run)
    if (folder is None) == (upstream is None):
        raise ConfigError("serve: give either a run's folder or --upstream URL")
    if folder is not None and (key_env is not None or compare):
        raise ConfigError("serve.key_env and serve.compare are for --upstream; a run's own two models are compared")
    if len(compare) not in (0, 2) or len(set(compare)) != len(compare):
        raise ConfigError(f"serve.compare: give the names of two models, A,B; got {','.join(compare)!r}")
    if upstream is not None and prompts is not None and not compare:
        raise ConfigError("serve.prompts are for comparisons: name two models with --compare A,B")
    check_installed()
    address = Address(host=host, port=port, token_env=token_env, names=tuple(allow_hosts))
    token = address.token()
    place = as_path(store) or (Path(COLLECTED) if folder is None else folder / COLLECTED)

    if folder is not None:
        check_is_trained(folder)
    from haloes.serving.app import make_app
    from haloes.serving.store import Store

    with bound(address) as (listening, taken), Store(place) as opened:
        if folder is None:
            from haloes.remote.client import Endpoint
            from haloes.serving.of_upstream import site_of_upstream

            endpoint = Endpoint(base_url=str(upstream), key_env=key_env)
            site = site_of_upstream(endpoint, opened, compare=compare, prompts=prompts)
        else:
            from haloes.serving.of_run import site_of_run

            site = site_of_run(folder, opened, prompts=prompts, shown=lambda: _loading(progress))
        app = make_app(site, token=token, names=taken.names)
        serve_until_stopped(
            app,
            listening,
            ready=lambda: None if ready is None else ready(taken.url, place),
            failure=site.backend.failure,
        )


@contextmanager
def _loading(progress: ProgressLike) -> Iterator[None]:
    with showing(progress) as shown:
        shown.stage("loading both models")
        yield
