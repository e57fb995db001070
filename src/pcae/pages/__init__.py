"""A run folder, a data set, kept tokens as one HTML page that stands alone."""
