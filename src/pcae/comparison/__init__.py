"""Rows x seeds -> cells -> one table: `pcae compare`, the paper's tables."""
