"""Benchmarks: suites, data sets, the runner, tables and the command line."""
