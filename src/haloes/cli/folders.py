"""Names for new run folders."""

import re
from itertools import count
from pathlib import Path
from typing import Any


def new_run_dir(config: Any) -> Path:
    """The first of runs/<feedback>-<loss>-1, -2 ... that does not exist."""
    source = Path(config.feedback.source).name.split(".")[0] or "run"
    loss = str(config.loss.get("name", "loss")).rpartition(":")[2]
    return numbered(re.sub(r"[^A-Za-z0-9_-]+", "-", f"{source}-{loss}"))


def numbered(stem: str) -> Path:
    """The first of runs/<stem>-1, -2 ... that does not exist."""
    return next(path for n in count(1) if not (path := Path("runs") / f"{stem}-{n}").exists())
