"""The custom app of a LangGraph server: the shim in front of the built-in routes, a tap between the two."""

import os

from starlette.applications import Starlette
from tap import Tap

from ap_resume_shim import ResumeShim

GUARDED = b"x-test-guarded"
"""A header field whose requests reach a second shim, which guards vendor resumes, too."""


class Shims:
    """The two shims."""

    def __init__(self, app):
        options = {"backend": os.environ.get("AP_TEST_BACKEND", "auto"), "merge_openapi": True}
        self.shim = ResumeShim(app, **options)
        self.guarding = ResumeShim(app, **options, vendor_resumes="guard")

    async def __call__(self, scope, receive, send):
        guarded = any(name == GUARDED for name, _ in scope.get("headers", ()))
        await (self.guarding if guarded else self.shim)(scope, receive, send)


app = Starlette()
app.add_middleware(Tap)
app.add_middleware(Shims)
