"""`kairos bench events` is being written."""


def run() -> dict[str, object]:
    return {}
