"""Files -> batches: image files, lists, shards, packed folders, COCO."""
