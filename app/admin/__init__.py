"""REST for people and CI, the ops listener, and the gateway's own paths on the inference port."""
