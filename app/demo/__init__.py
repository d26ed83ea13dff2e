"""Real flights, real model servers and the story of six rollouts, played through the gateway.

Rule: a client like any other; `python -m app.demo` plays it, and nothing of the `turnback` command is imported here.
"""
