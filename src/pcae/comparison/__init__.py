"""Rows x seeds -> cells -> one table."""
