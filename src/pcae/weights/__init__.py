"""Other people's checkpoints <-> ours: what is found where, what of it matches, what a model is saved with; export/."""
