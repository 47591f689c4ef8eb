"""Scrip on the network: translates between gRPC and the ledger, and nothing else."""
