"""HTTP/1.1 as this gateway reads and writes it: heads, framing, what crosses and what does not."""
