"""Faust agents, thin, and beside each of them the pure fold that it runs."""
