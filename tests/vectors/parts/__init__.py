"""The vectors, part by part: each module has ``cases()``."""
