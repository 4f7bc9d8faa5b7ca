"""Repositories of AT Protocol: which of them are known completely, and which are to be fetched."""
