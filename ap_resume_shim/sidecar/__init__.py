"""The command line: settings, sockets, the server process, health."""
