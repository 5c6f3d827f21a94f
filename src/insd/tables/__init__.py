"""Tables over all networks of a grid, each one file in `results/tables/`."""
