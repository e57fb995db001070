"""Files of any image format -> pixels."""
