"""One file per benchmark, in the order of the table."""

ALL = (
    "log_latency",
    "throughput",
    "disk",
    "frame",
    "start",
    "snapshot",
    "crash",
    "capture",
    "training",
    "large_state",
    "checkpoint_size",
    "propagation",
    "old_runs",
    "tracked",
    "airflow",
    "sync",
    "writers",
    "many_runs",
)
