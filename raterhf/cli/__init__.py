"""The command line: arguments in, one call, text out. Nothing heavy is imported at the top."""
