"""What a shop used, and how much it may use."""
