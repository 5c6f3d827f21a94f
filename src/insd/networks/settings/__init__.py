"""The settings of each architecture, without PyTorch, whose import takes longer than all that reads a config."""
