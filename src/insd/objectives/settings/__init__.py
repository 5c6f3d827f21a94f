"""The settings of terms, which are read without PyTorch."""
