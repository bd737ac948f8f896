# /// script
# requires-python = ">=3.11"
# dependencies = ["asgi-proxy-lib==0.2a0", "uvicorn>=0.30,<1", "uvloop>=0.19", "httptools>=0.6"]
# ///
"""asgi-proxy-lib in uvicorn: UPSTREAM PORT."""

import sys

import uvicorn
from asgi_proxy import asgi_proxy  # type: ignore[import-not-found]

if __name__ == "__main__":
    app = asgi_proxy(sys.argv[1])
    uvicorn.run(app, port=int(sys.argv[2]), log_level="critical", access_log=False, lifespan="off")
