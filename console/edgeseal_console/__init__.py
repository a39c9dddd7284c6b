"""The ``edgeseal`` command: what people do with a fleet (operate) and with its evidence (investigate)."""
