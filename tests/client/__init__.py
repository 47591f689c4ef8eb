"""What the Python client promises, shown against servers that answer what a test tells them to."""
