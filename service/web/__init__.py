"""The daemon's web server: probes, metrics, status, dashboard."""
