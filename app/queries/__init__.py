"""Reads: one transaction each (of long lists one a page), put together into frozen values for whoever shows them."""
