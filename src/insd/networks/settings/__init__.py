"""The settings of each architecture, without PyTorch, whose import takes longer than reading a config."""
