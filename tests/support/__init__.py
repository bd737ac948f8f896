"""What several folders of tests use: agents, servers, sockets and clients made for tests."""
