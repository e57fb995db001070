"""Labelled images -> loss and predictions."""
