"""Hostile clients and broken upstreams against the data plane, over real sockets."""
