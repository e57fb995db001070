"""Arrays -> PNG and SVG; knows no run and no model."""
