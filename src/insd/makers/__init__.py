"""How the networks of a population come to be: one maker per file."""
