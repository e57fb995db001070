"""Images that were decoded and shrunk once."""
