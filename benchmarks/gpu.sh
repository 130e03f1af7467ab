#!/usr/bin/env bash
# haloes beside TRL on one GPU, in one call and under nine minutes, without a network.
#
#   benchmarks/gpu.sh prepare [--all] [FOLDER]   on a machine with a network: fetch the wheels (about 50 MB; --all: 250 MB)
#   benchmarks/gpu.sh [OPTIONS]                  on the GPU machine: measure; results in benchmarks/results/gpu
#   benchmarks/gpu.sh --dry-run [OPTIONS]        anywhere: everything with tiny models on the CPU, in a few minutes
#
# OPTIONS go to `python -m benchmarks.gpu.run`: --out FOLDER, --minutes 8.5, --sizes 0.1B 1.5B.
# PYTHON (python3) is the interpreter; for `prepare`, GPU_PYTHON (3.12) is the version of the GPU machine's Python.
# WHEELS (.wheels in the repository, ignored by git) is the folder of the wheels; copy the repository with it to the GPU
# machine. What is installed there already stays as it is; the rest goes into a temporary folder that is removed at the end.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PYTHON=${PYTHON:-python3}
WHEELS=${WHEELS:-.wheels}
LIST=benchmarks/requirements-gpu.txt

prepare() {
    local all=false
    if [ "${1:-}" = --all ]; then all=true; shift; fi
    local folder=${1:-$WHEELS} wanted platforms=() glibc
    mkdir -p "$folder"
    wanted=$(mktemp)
    if $all; then grep -v '^#' "$LIST" >"$wanted"; else sed '/^# all/,$d' "$LIST" | grep -v '^#' >"$wanted"; fi
    for glibc in 17 24 26 27 28 31 34 35; do platforms+=(--platform "manylinux_2_${glibc}_x86_64"); done
    platforms+=(--platform manylinux2014_x86_64 --platform manylinux2010_x86_64 --platform manylinux1_x86_64)
    # torch and what it needs are not resolved: the GPU machine has its own.
    "$PYTHON" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        --python-version "${GPU_PYTHON:-3.12}" --implementation cp "${platforms[@]}" -r "$wanted" -d "$folder"
    rm -f "$wanted"
    du -sh "$folder"
}

# Of the wheels those whose distribution is not installed; their paths, a line each.
missing() {
    "$PYTHON" - "$WHEELS" <<'PROGRAM'
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

for wheel in sorted(Path(sys.argv[1]).glob("*.whl")):
    try:
        version(wheel.name.split("-")[0])
    except PackageNotFoundError:
        print(wheel)
PROGRAM
}

if [ "${1:-}" = prepare ]; then
    shift
    prepare "$@"
    exit
fi

site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
if [ -d "$WHEELS" ]; then
    mapfile -t wheels < <(missing)
    if [ ${#wheels[@]} -gt 0 ]; then
        "$PYTHON" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-compile \
            --no-cache-dir --target "$site" "${wheels[@]}"
    fi
fi
export PYTHONPATH="$PWD/src:$PWD:$site${PYTHONPATH:+:$PYTHONPATH}"
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false PYTORCH_ALLOC_CONF=expandable_segments:True
case " $* " in
*" --dry-run "*) export CUDA_VISIBLE_DEVICES= ;;
*) "$PYTHON" -c 'import sys, torch; sys.exit(0 if torch.cuda.is_available() else "no GPU is visible to torch; try --dry-run")' ;;
esac
# A second line of defence behind the deadlines inside: nothing runs on after nine minutes.
limit=540
case " $* " in *" --dry-run "* | *" --minutes "*) limit=3600 ;; esac
timeout --signal=INT --kill-after=10 "$limit" "$PYTHON" -m benchmarks.gpu.run "$@"
