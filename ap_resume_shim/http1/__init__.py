"""HTTP/1.1 on bare sockets, both sides of the sidecar: strict with what comes in, exact in what goes out.

Parsing is llhttp's (through httptools); what is here is what a proxy needs on top: nothing added, nothing lost,
and an end that is told as what it was. Needs the `serve` extra.
"""
