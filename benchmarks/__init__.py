"""How fast Scrip is, measured: `make bench`. docs/performance.md tells how."""
