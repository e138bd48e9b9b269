"""The core all methods stand on."""
