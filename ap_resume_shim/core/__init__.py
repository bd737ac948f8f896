"""The pure core: the flow of a resume, the base class of dialects, the protocol and its errors.

No I/O, clock or randomness.
"""
