"""Trained models into the files and folders that other programs run or load, each checked against PyTorch."""
