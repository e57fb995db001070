"""A run folder, a data set or kept tokens as one HTML page that stands alone; reads folders, starts nothing."""
