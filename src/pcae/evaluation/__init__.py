"""Features -> numbers and pictures."""
