"""The settings of readers, without PyTorch: the workflow reads them at every start."""
