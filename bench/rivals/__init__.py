"""Rules of other tools, re-implemented from their documentation and public sources, one a file.

Rule: where a document leaves a choice, the one that favours the rival is taken, and said (ADR 0079).
"""
