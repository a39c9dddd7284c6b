"""The gateway: takes devices' segments in, keeps the fleet log, gives receipts, anchors on the chain, answers
questions.
"""
