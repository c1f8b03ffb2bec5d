"""PDEBench: fields that follow partial differential equations."""
