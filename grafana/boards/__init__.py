"""The dashboards, as code: each module builds one, from `parts`."""
