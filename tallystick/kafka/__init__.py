"""Kafka clients: one way to produce, one to consume, one to look at the cluster."""
