"""What every wing may use and none is about."""
