"""Models, versions, routes, and the replicas that apply them."""
