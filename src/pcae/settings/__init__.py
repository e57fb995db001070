"""What verbs are told: frozen dataclasses without tensors, their bounds and help, YAML, recipes."""
