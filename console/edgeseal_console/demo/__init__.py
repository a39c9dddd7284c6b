"""`edgeseal demo`: the whole system on one machine, and the outside parts it runs on."""
