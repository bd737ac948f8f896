# /// script
# requires-python = ">=3.11"
# dependencies = ["fastapi-proxy-lib[standard]==0.3.0", "uvicorn>=0.30,<1", "uvloop>=0.19", "httptools>=0.6"]
# ///
"""fastapi-proxy-lib in uvicorn: UPSTREAM PORT."""

import sys

import uvicorn
from fastapi_proxy_lib.fastapi.app import reverse_http_app  # type: ignore[import-not-found]

if __name__ == "__main__":
    app = reverse_http_app(base_url=f"{sys.argv[1]}/")
    uvicorn.run(app, port=int(sys.argv[2]), log_level="critical", access_log=False)
