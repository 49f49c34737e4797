"""The developer's side: the `arcsub` command and the library behind this command."""
