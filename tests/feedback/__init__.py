"""Labels as they come back, over real databases and disks."""
