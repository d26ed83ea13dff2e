"""What is decided, as pure values and functions.

Rule: no I/O, clock, randomness, logging or framework. Time and randomness are arguments.
"""
