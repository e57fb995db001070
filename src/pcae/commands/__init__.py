"""One file a verb: it builds the parts, hands them over and reports."""
