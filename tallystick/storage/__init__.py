"""Contents by their digest, and archives: files that producers write and that observers read back."""
