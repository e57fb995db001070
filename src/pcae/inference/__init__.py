"""A trained model at work on images: embed, predict, evaluate, probe, detect, show, export."""
