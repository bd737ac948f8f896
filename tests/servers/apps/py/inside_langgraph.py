"""The custom app of a LangGraph server: the shim in front of the built-in routes, a tap between the two."""

import os

from starlette.applications import Starlette
from tap import Tap

from ap_resume_shim import ResumeShim

app = Starlette()
app.add_middleware(Tap)
app.add_middleware(ResumeShim, backend=os.environ.get("AP_TEST_BACKEND", "auto"), merge_openapi=True)
