"""The `scrip` command: in this process where it only asks, in one of its own where it serves."""
