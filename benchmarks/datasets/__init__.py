"""The data sets of the suites."""
