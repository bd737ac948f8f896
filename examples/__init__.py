"""Small servers for trying the shim."""
