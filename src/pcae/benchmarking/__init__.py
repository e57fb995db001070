"""Speed and memory of our methods side by side: `pcae benchmark`."""
