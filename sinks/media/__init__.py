"""Media in the database: what sinks write, what a look finds there and on disk, what an audit finds wrong."""
