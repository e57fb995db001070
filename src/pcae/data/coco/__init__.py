"""Images with objects, in COCO's format."""
