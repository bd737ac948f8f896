"""Real agent servers for the tests: LangGraph (current, old and JavaScript) and Aegra.

`tests.servers.run.start` starts one of them for a test; `python -m tests.servers` starts several around a command.
Each server lives in its own environment, because their pins clash: the start scripts in this folder carry their
dependencies with them and are run by `uv run --script`. The graphs they serve are in `apps`.
"""
