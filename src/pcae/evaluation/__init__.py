"""Features -> numbers: accuracies, probes, costs, diversity, what data sets hold; the turns that measure speed."""
