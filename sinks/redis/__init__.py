"""What consumers of rsky-ingester's Redis streams go on reading: a sink without a database."""
