"""Loss -> better weights: loop, optimizer, schedules, checkpoints, logs, processes; knows no method by name."""
