#!/bin/bash
# A run on 2 machines with 8 GPUs each. Give the run's folder and the feedback on a file system that both share.
#     sbatch slurm.sh
#SBATCH --job-name=haloes
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
set -u

export FEEDBACK=/shared/thumbs.jsonl MODEL=/shared/model RUN=/shared/runs/first
RENDEZVOUS=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1):29400
export RENDEZVOUS

# One command a machine, which starts its 8 processes. The same job goes on with a run that had begun.
# shellcheck disable=SC2016
srun --kill-on-bad-exit=0 bash -c '
    set -- --processes 8 --max-restarts 3 \
        --nodes "$SLURM_NNODES" --node-rank "$SLURM_NODEID" --rendezvous "$RENDEZVOUS"
    if [ -f "$RUN/config.yaml" ]; then
        exec haloes resume "$RUN" "$@"
    else
        exec haloes train "$FEEDBACK" --model "$MODEL" --out "$RUN" "$@"
    fi
'
code=$?

# 130: stopped by the signal that comes 300 s before the time is over, and saved.
if [ "$code" -eq 130 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
