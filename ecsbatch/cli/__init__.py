"""The command line: builds the parts, shows what happens, maps errors to exit codes. `app` is its door."""
