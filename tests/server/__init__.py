"""The server on a loopback port, asked with the generated stubs."""
