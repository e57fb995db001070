"""Loss -> better weights; knows no method by name."""
