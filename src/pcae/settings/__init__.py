"""What verbs are told: frozen dataclasses without tensors, YAML, recipes."""
