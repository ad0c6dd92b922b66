#!/bin/sh
# Runs the units of a round as one Slurm array, and waits for it. Set in the manifest:
#
#   [fleet]
#   command = ["pipeline/deploy/slurm.sh", "--time=1:00:00", "--mem=6G"]
#
# Options of sbatch come first. The round and the numbers of units follow, as curate appends them.
# CURATE names the executable, which all nodes must have under that path.
set -eu

options=
while case "${1-}" in -*) true ;; *) false ;; esac; do
  options="$options $1"
  shift
done
round=$1
shift

# Slurm takes numbers of an array as a list, such as 0,4,7.
numbers=$(printf '%s,' "$@")

# --wait: the driver looks for receipts when this script ends. A job that was preempted runs again.
# shellcheck disable=SC2086 # the options are words
exec sbatch --wait --requeue --array="${numbers%,}" --output="$round.%a.log" $options --wrap \
  "exec '${CURATE:-curate}' unit '$round' \$SLURM_ARRAY_TASK_ID"
