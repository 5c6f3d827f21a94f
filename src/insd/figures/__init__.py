"""The figures, one file each; `theme` and `panels` are what they share."""
