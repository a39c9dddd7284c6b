"""Looking into what devices did: collect evidence, verify it, replay it, inspect it, report on it."""
