"""The nearest of many features, by cosine similarity: exactly, or by an index that lies beside them"""
