"""What is declared: models, versions, routes, policies, what is measured of their answers."""
