"""edgeseal-agent: runs a model on a device and keeps a hardware-signed, tamper-evident history of what it did."""
