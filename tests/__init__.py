"""Tests: unit and property without I/O, integration and faults on real servers, bench apart."""
