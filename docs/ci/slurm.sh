#!/usr/bin/env bash
# sbatch slurm.sh: an array of four tasks. A task that is requeued goes on with its record, and one
# that runs out of time ends with 5, so that it can be submitted again.
#SBATCH --job-name=loopwatch
#SBATCH --array=1-4
#SBATCH --time=01:00:00
#SBATCH --requeue
set -euo pipefail

records="$SLURM_SUBMIT_DIR/shards/$SLURM_ARRAY_TASK_ID"
loopwatch run --shard auto --resume auto --max-time 50m --report "$records" \
    --junit "$records/results.xml"

# When all tasks are done: loopwatch merge shards/*/2* --junit results.xml
