"""What stops a build or a command, and a person can mend."""


class FaultError(Exception):
    """Its text names the fault and the remedy, one a line, and quotes nothing that Kobra sent."""


class UsageError(Exception):
    """Its text is one sentence that says how what was asked for can be had."""
