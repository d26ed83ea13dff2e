"""The shared collections of odd and hostile HTTP, played against the data plane."""
