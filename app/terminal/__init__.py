"""The admin API's documents as text for people, whoever prints it: the command, and the demo's live view.

Rule: standard library only; nothing here fetches or prints.
"""
