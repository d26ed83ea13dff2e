"""One canary's way to stable or back: states, rules, moves, and what a decision says."""
