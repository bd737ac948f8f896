"""The agent server of `ap-resume-shim demo`, of the kind that the shim is made for.

from ap_resume_shim.demo import create_app
"""

from ap_resume_shim.demo.legacy_server.server import create_app

__all__ = ["create_app"]
