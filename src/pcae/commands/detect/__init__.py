"""The verbs of detection."""
