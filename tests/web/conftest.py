"""The page of `--to web` needs a package of npm, which `make test-web` fetches; elsewhere this folder is left out."""

from tests.web.package import PACKAGE

collect_ignore_glob = [] if PACKAGE.exists() else ["test_*.py"]
