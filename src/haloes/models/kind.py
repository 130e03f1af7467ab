"""The kind of model that a folder holds, without loading it."""

import json
from pathlib import Path


def is_classifier(folder: Path) -> bool:
    """Return whether a folder holds a sequence classifier, such as a reward model."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    names = config.get("architectures") if isinstance(config, dict) else None
    return isinstance(names, list) and any(str(name).endswith("ForSequenceClassification") for name in names)
