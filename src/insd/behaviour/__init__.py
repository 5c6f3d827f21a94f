"""Behaviour as a distribution: models of responses, their fit, and the diffusion by which networks can learn them."""
