"""What papers state, judged by what a grid shows: one file per paper."""
