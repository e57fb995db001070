#!/usr/bin/env bash
# Expected: Index.search of queries in a matrix, n x dimensions, answers n rows, n = 1 among them, as NumPy, faiss and scikit-learn do.
# Seen: a matrix of one row is taken for a vector: a `Matches` of k keys comes back, not a `BatchMatches` of 1 x k, so that a loop over queries
# meets k neighbours where it wants one query.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q 'usearch==2.26.6' 'numpy==2.4.6'

"$folder/env/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
from usearch.index import Index

random = np.random.default_rng(0)
index = Index(ndim=4, metric="ip", dtype="f32")
index.add(np.arange(9), random.random((9, 4), np.float32))
print("usearch", version("usearch"), "- expected: (3, 2), (2, 2), (1, 2)")
seen = []
for queries in (3, 2, 1):
    found = index.search(random.random((queries, 4), np.float32), 2)
    seen.append(found.keys.shape)
    print(queries, "x 4:", type(found).__name__, found.keys.shape)
sys.exit(0 if seen == [(3, 2), (2, 2), (2,)] else "the behaviour has changed")
PYTHON
