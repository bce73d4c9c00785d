"""The nouns of kairos: plain records, a file each, that every room may hold and none may own.

Times are integers: milliseconds since the epoch, UTC. Money is an integer: minor units of the playbook's currency.
"""
