"""`pcae` with chunks of 2 images, segments of 2 chunks, and 20 ms for each image, so that there is time to kill it."""

import sys
import time

from pcae.cli import main
from pcae.data.packed import chunks
from pcae.sharing import segments

chunks.CHUNK, segments.LEAST, segments.MOST = 2, 1, 2
shrunk = chunks.shrunk


def slowly(*given) -> chunks.Shrunk:
    """An image as it is packed."""
    time.sleep(0.02)
    return shrunk(*given)


if __name__ == "__main__":
    chunks.shrunk = slowly
    main(sys.argv[1:])
