"""The data plane over real sockets."""
