"""Files of labels, and the way they are sent."""
