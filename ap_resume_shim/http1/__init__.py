"""HTTP/1.1 for both sides of the sidecar: a server for its clients, and a client for the server behind it.

llhttp parses, through httptools. These modules add what a proxy needs and HTTP libraries lack: messages are forwarded
byte for byte, ambiguous ones are refused, and an incomplete message never looks complete to the other side. Needs the
extra `serve`.
"""
