"""Figures: one module each, from the files under results/ to matplotlib figures, in one theme."""
