#!/bin/sh
# status.sh JOB: running, success or failed, as SLURM's queue has it.  For a few minutes it has ended jobs too.
case $(squeue --noheader --states=all --format=%T --jobs="$1" 2>/dev/null) in
    COMPLETED) echo success ;;
    PENDING | RUNNING | CONFIGURING | COMPLETING | SUSPENDED) echo running ;;
    *) echo failed ;;
esac
