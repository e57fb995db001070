"""Whether pre-training is worth it for some images: rows within a budget, paired differences, a verdict in words."""
