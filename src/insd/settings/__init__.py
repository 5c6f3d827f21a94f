"""The config as frozen settings: the sections, how layers make a recipe, and the checks across keys."""
