"""Execution of one resume: the driver, the exchanges with the wrapped app, the client's side, and the log line."""
