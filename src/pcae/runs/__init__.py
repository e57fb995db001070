"""Settings -> a finished run folder: what pretrain, finetune and detect train share, and what watches a run."""
