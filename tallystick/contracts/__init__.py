"""What travels: topics, slices, events, stages. The only place where field names live; pure, without I/O."""
