"""Images -> self-supervised loss."""
