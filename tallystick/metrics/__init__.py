"""What a service tells of itself over HTTP: `/metrics` for Prometheus, `/health` and `/ready`.

`measures` keeps what roles tell, `exposition` is the text that Prometheus reads, `health` decides whether all is well,
`server` serves it, `monitor` holds them together for whoever supervises.
"""
