"""Everything that runs on the developer's machine: the `arcsub` command and what it calls."""
