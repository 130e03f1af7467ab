"""
`python -m haloes.tokens.worker`: a process that encodes for another, and ends when that one does.

It reads the encoders and then chunks of tasks from its input, and writes the results of each chunk to its output; None
for a chunk that it cannot encode. It imports no torch.
"""

import os
import pickle
import sys
from collections.abc import Sequence

from haloes.tokens.encode import Encoder
from haloes.tokens.parallel import EncodeTask, PackedResults, encode_tasks, pack_results


def main() -> None:
    """Encode until the input ends."""
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints would write into the results
    # Tokenizers do without torch, which older versions of transformers import wherever they find it.
    sys.modules["torch"] = None  # type: ignore[assignment]
    encoders: Sequence[Encoder] = pickle.load(requests)  # noqa: S301 - from the process that started this one
    while True:
        try:
            tasks: Sequence[EncodeTask] = pickle.load(requests)  # noqa: S301
        except EOFError:
            return
        pickle.dump(_encoded(encoders, tasks), answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()


def _encoded(encoders: Sequence[Encoder], tasks: Sequence[EncodeTask]) -> PackedResults | None:
    try:
        return pack_results(encode_tasks(encoders, tasks))
    except Exception:  # noqa: BLE001 - the process that asked encodes these itself, and raises it there
        return None


if __name__ == "__main__":
    main()
