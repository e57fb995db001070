"""Work on many images that processes and machines share: cut into parts, each done whole, by whoever is free."""
