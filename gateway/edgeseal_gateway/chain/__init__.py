"""The gateway and the chain: what to anchor, one transaction at a time until it is final, what the registry says."""
