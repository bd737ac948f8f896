"""The reverse proxy, apart from HTTP/1.1 itself."""
