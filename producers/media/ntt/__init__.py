"""Media of an ntt installation (github.com/vm-wylbur/ntt): its tables are read, and brought into the log."""
