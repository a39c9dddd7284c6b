"""edgeseal: what a device signed, provable in order and without gaps, by anyone, offline."""
