"""The purchase page in a real browser."""
