"""Archives and streams of images: tar, parquet, Hugging Face, addresses."""
