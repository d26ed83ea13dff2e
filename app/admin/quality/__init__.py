"""How good answers were: labels, drift, cost, two versions side by side."""
