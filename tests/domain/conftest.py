"""How much Hypothesis tries when each test is run against thousands of mutants."""

from hypothesis import Phase, settings

# A mutant need not be shrunk, and few examples keep a run short; fewer examples can only lower the score.
settings.register_profile(
    "mutants",
    max_examples=8,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
)
