"""One file a verb: settings in, one call to a room below, and what is printed."""
