"""Other people's checkpoints <-> ours. So far: a run's encoder, with all that it needs to be used."""
