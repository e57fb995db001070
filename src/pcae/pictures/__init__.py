"""Arrays -> PNG and SVG; knows no run."""
