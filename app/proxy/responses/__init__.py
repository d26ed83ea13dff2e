"""What answers say: predictions, tokens, flaws, whether a stream ended well."""
