"""The demo, apart from what only its whole story shows."""
