"""
The dashboards of Grafana, as code.

`make dashboards` writes `dashboards/*.json`, which Grafana reads; docs/dashboards.md says more.
"""
