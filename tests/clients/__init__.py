"""Unmodified clients of the backends, from their public packages, in front of a sidecar that guards their answers.

Each client is a program in `programs`, in an environment of its own, that runs a scenario and answers its question.
"""
