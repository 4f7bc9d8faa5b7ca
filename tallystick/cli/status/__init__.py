"""Status files: how a load stands, for dashboards that read files."""
