"""A resume under way, with fake agents, on real sockets where a server's behaviour matters."""
