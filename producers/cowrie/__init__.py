"""Cowrie honeypot logs: the reader, and a generator of realistic logs."""
