"""Whatever prints a committed table: run by hand with `make bench-...`, kept in `results/`."""
