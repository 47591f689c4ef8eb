"""Generated from protos/scrip/v1 by `make proto`."""
