"""Repositories as a whole: listed by their hosts, fetched from their own, checked and sliced."""
