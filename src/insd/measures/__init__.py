"""Measures of how alike the activity of two networks is, one file each; `base` is what they share."""
