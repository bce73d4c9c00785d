"""The playbook: what marketers write, parsed, typed and cross-checked into one immutable value."""
