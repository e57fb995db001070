"""Labelled images -> loss and predictions: classification, detection."""
