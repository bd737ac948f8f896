"""Every family of agent server through one suite: real servers, the shim in front, and what the agents heard."""
