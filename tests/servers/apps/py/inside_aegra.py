"""The custom app of an Aegra server: the shim in front of the built-in routes, a tap between the two.

Aegra accepts nothing but a FastAPI instance here.
"""

import os

from fastapi import FastAPI
from tap import Tap

from ap_resume_shim import ResumeShim

app = FastAPI()
app.add_middleware(Tap)
app.add_middleware(ResumeShim, backend=os.environ.get("AP_TEST_BACKEND", "auto"), merge_openapi=True)
