"""The shim inside LangGraph's server, which loads this app as `http.app` of langgraph.json.

    pip install ap_resume_shim 'langgraph-cli[inmem]'
    langgraph dev --no-browser

The server then has the routes of the draft beside its own, and describes both at http://127.0.0.1:2024/docs. The
clients in ../migrate answer the questions of the graph in agent.py.
"""

from starlette.applications import Starlette

from ap_resume_shim import ResumeShim

app = Starlette()
app.add_middleware(ResumeShim, backend="langgraph", merge_openapi=True)
