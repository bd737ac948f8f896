"""Small servers to put the shim in front of."""
