"""Side-by-side benchmarks; `python3 -m app bench` runs them in a checkout, no release carries them."""
