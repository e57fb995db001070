"""Lists of images and their labels."""
