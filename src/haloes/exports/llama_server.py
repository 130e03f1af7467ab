"""
llama.cpp's server in a process of its own, so that a crash of it is no crash of haloes; run as a script.

Reads one line of JSON on standard input (model, n_ctx, threads, api_key), writes the server's address as a line on
standard output, and ends when standard input does. Only this machine can reach the server, and only with the key.
"""

import json
import os
import sys


def main() -> None:
    """Start the server, say where it is, and wait until nobody needs it."""
    import xllamacpp

    given = json.loads(sys.stdin.readline())
    params = xllamacpp.CommonParams()
    params.model.path = given["model"]
    params.n_ctx = given["n_ctx"]
    params.n_parallel = 1
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = given["threads"]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [given["api_key"]]
    params.ui = params.warmup = False
    params.use_jinja = True
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()
    # Without llama.cpp's own farewell, which waits for what still runs.
    os._exit(0)


if __name__ == "__main__":
    main()
