"""What is misspelt or missing is told before torch is imported, which takes seconds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import haloes
from tiny_runs import thumbs, write_rows

REFUSED = (
    *(["losses", "recommend", "missing.jsonl"], ["losses", "show", "ktoo"], ["losses", "plot", "ktoo"]),
    *(["doctor", "missing.jsonl"], ["convert", "missing.jsonl", "out.jsonl"]),
    *(["train", "missing.jsonl"], ["train", "thumbs.jsonl", "--loss", "ktoo"]),
    *(["train", "thumbs.jsonl", "--model", "./missing"], ["train", "thumbs.jsonl", "--set", "samples.rater=no.py:f"]),
    *(
        ["train", "thumbs.jsonl", "--validation", "missing.jsonl"],
        ["train", "thumbs.jsonl", "--config", "missing.yaml"],
    ),
    *(["plan", "missing.jsonl"], ["plan", "thumbs.jsonl", "--loss", "ktoo"]),
    *(["online", "missing.txt", "--rater", "rules.py:f"], ["online", "everyday", "--rater", "no.py:f"]),
    *(["online", "everyday", "--rater", "rules.py:f", "--loss", "ktoo"],),
    *(["sample", "./missing", "everyday", "--out", "out.jsonl"], ["sample", "run", "no.txt", "--out", "out.jsonl"]),
    *(["sample", "missing", "everyday", "--out", "out.jsonl"], ["train", "thumbs.jsonl", "--model", "missing"]),
    *(["judge", "missing", "--judge", "rule", "--rule", "rules.py:f"], ["eval", "missing"]),
    *(["export", "missing", "out"], ["export", "empty", "out"], ["resume", "missing"], ["resume", "empty"]),
    *(["report", "missing"], ["compare", "missing", "empty"]),
    *(["reproduce", "families", "missing.jsonl"], ["reproduce", "imbalance", "missing.jsonl"]),
)
_RUN_EACH = """
import json, sys
from haloes.cli.main import run
for arguments in json.loads(sys.argv[1]):
    code, has_torch = run(arguments), "torch" in sys.modules
    if code != 2 or has_torch:
        sys.exit(f"{' '.join(arguments)}: exit code {code}, torch imported: {has_torch}")
"""


def test_what_is_missing_or_misspelt_is_told_before_torch_is_imported(tmp_path: Path):
    write_rows(tmp_path / "thumbs.jsonl", thumbs(4))
    (tmp_path / "rules.py").write_text("def f(*_):\n    return True, ''\n")
    for folder in ("run", "empty"):
        (tmp_path / folder).mkdir()
    environment = os.environ | {"PYTHONPATH": str(Path(haloes.__file__).parents[1]), "HF_HUB_OFFLINE": "1"}

    done = subprocess.run(
        [sys.executable, "-c", _RUN_EACH, json.dumps(REFUSED)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
