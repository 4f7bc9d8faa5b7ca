"""Tests against a real PDS and a real directory, which need Node 20 and npm: `make live`. Not a part of `make test`."""
