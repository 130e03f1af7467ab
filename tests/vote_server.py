"""A server that only takes votes into a store, for tests that kill it: run as a program with the store's place."""

import sys
from pathlib import Path

import uvicorn

from haloes.remote.client import Endpoint
from haloes.serving.app import make_app
from haloes.serving.of_upstream import site_of_upstream
from haloes.serving.run import Address, bound
from haloes.serving.store import Store


def main(place: Path, upstream: str) -> None:
    with bound(Address(port=0)) as (listening, address), Store(place) as store:
        site = site_of_upstream(Endpoint(base_url=upstream), store, compare=(), prompts=None)
        sys.stdout.write(f"{address.port}\n")
        sys.stdout.flush()
        uvicorn.Server(uvicorn.Config(make_app(site), log_level="error")).run(sockets=[listening])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
