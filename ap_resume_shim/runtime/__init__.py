"""One resume under way: the driver, the exchange with the wrapped app, the client, and the log line."""
