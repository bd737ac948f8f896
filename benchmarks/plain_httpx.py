"""`ReverseProxy` in uvicorn with its default transport, httpx: `python -m benchmarks.plain_httpx UPSTREAM PORT`."""

from __future__ import annotations

import sys

import uvicorn

from ap_resume_shim import ReverseProxy

if __name__ == "__main__":
    uvicorn.run(ReverseProxy(sys.argv[1]), port=int(sys.argv[2]), log_level="critical", access_log=False)
