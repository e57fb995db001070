#!/usr/bin/env bash
# Expected: 1e-3 and 1.0e3 are numbers in YAML, as they are in JSON, which every YAML 1.2 parser reads, and in Python.
# Seen: PyYAML reads both as text, without a word; 1.0e-3 and 1.0e+3 are numbers. It follows YAML 1.1, whose floats
# have a point and a signed exponent. A learning rate of 1e-3 in a settings file arrives as the string "1e-3".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q 'pyyaml==6.0.3'

cat > "$folder/settings.yaml" <<'INPUT'
- 1e-3
- 1.0e3
- 1.0e-3
- 1.0e+3
INPUT

"$folder/env/bin/python" - "$folder/settings.yaml" <<'PYTHON'
import json
import sys

import yaml

words = open(sys.argv[1]).read()
read = yaml.safe_load(words)
print("PyYAML", yaml.__version__, "on Python", sys.version.split()[0])
print("expected:", [float(line.removeprefix("- ")) for line in words.splitlines()])
print("JSON:    ", json.loads("[1e-3, 1.0e3, 1.0e-3, 1.0e+3]"))
print("read:    ", read)
sys.exit("the behaviour has changed" if read != ["1e-3", "1.0e3", 0.001, 1000.0] else 0)
PYTHON
