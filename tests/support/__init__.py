"""What tests, benchmarks and proofs share: models made by hand, tables, running services."""
