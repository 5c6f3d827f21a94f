"""What networks do on trials, and what a reader finds in their activity: tools that write no file."""
