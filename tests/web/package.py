"""npm's package of onnxruntime-web, where `make test-web` has put it."""

from pathlib import Path

from pcae.weights.export.onnxruntime_web import VERSION

PACKAGE = Path(__file__).parents[2] / ".onnxruntime-web" / f"onnxruntime-web-{VERSION}.tgz"
