"""Speed and memory side by side."""
