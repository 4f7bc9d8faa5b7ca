"""Sessions: from Cowrie's events to one state a session."""
