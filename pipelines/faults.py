"""What stops a build that a person can mend."""


class FaultError(Exception):
    """Its text names the fault and the remedy, one a line, and quotes nothing that Kobra sent."""
