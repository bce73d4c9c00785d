"""The far ends of the ports, each named for its counterpart."""
