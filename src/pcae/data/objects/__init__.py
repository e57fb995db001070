"""Objects of the caller's as images: Datasets, Hugging Face's too, lists and arrays."""
