"""The commands of ``lightcl-edge``, one file each."""
