"""What reads networks: their weights, or their responses to chosen inputs, and answers a question about them."""
