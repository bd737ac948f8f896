"""The shim in web frameworks: the blocks of `docs/how-to/frameworks.md`, each in an environment of its own."""
