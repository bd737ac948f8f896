"""Replaying servers: small apps that answer as servers were recorded, or read, to answer. They are not those servers.

For servers that cannot be installed from a package index, and for the hobby servers of which there is one each. What
they cannot show is what nobody wrote down: each app's docstring tells where its facts come from. The agents in them
really run: they ask, wait for an answer, take their time and fail (`agent`).
"""
