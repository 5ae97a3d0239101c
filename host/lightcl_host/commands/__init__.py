"""The commands of ``lightcl-host``, one file each."""
